"""One HTML page over a shards run: how many of what, and examples of each outcome, all in one file."""

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TypeVar

from preprocessing.ledger import ClipRow, SourceRow, count_clips, count_sources
from preprocessing.outcome import DownloadStatus

Item = TypeVar("Item")
NUM_PICTURES = 8
NUM_EXAMPLES = 12
"""Most clips that are shown of one outcome, and most sources of one state."""
MEASURES = {
    "low_confidence": ("mean_score", "mean confidence {:.2f}"),
    "dark": ("brightness", "brightness {:.0f} of 255"),
    "blurry": ("sharpness", "sharpness {:.0f}"),
    "extreme_pose": ("yaw_deg", "head {:.0f} degrees to the side"),
    "multiple_faces": ("other_face", "another face covers {:.0%}"),
    "static": ("motion", "motion {:.2f} of 255"),
}
"""What was measured where a clip was left out for it, so that people can choose another threshold."""
STYLE = (
    "body{font:15px system-ui;margin:2rem;max-width:72rem}table{border-collapse:collapse;margin:1rem 0}"
    "td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}td+td{text-align:right}"
    ".bar{background:#4a7;height:.8rem}.wide{width:12rem}img{height:96px}"
    ".side{display:flex;flex-wrap:wrap;gap:0 2.5rem}p{margin:.8rem 0}"
)


def write_report(
    path: Path,
    sources: Sequence[SourceRow],
    rows: Sequence[ClipRow],
    pictures: Mapping[str, Sequence[bytes]],
) -> None:
    """Write the contact sheet; it stays small, however many clips there are: see `examples`.

    Args:
        path: the HTML file.
        sources: every source.
        rows: every candidate clip.
        pictures: JPEG files of the examples, in order of time, by key.
    """
    body = [
        "<h1>Contact sheet</h1>",
        "<div class=side>",
        _block("h2", "Sources", _histogram(count_sources(sources))),
        _block("h2", "Clips", _histogram(count_clips(rows))),
        "</div>",
        _troubled(sources),
        "<h2>Kept clips</h2><div class=side>",
        _distributions([row for row in rows if row.outcome == "kept"]),
        "</div>",
        "<h2>Examples</h2>",
    ]
    counts = count_clips(rows)
    for label, chosen in examples(rows).items():
        body.append(f"<h3>{escape(label)}: {len(chosen)} of {counts[label]}</h3>")
        body += [_clip(row, pictures.get(row.key, ())) for row in chosen]
    page = f"<!doctype html><meta charset='utf-8'><title>Contact sheet</title><style>{STYLE}</style>"
    path.write_text(page + "\n".join(body) + "\n", encoding="utf-8")


def examples(rows: Sequence[ClipRow]) -> dict[str, list[ClipRow]]:
    """Return some clips of each outcome, spread evenly over all of them; kept ones come first."""
    by_label: dict[str, list[ClipRow]] = {}
    for row in sorted(rows, key=lambda row: (row.outcome != "kept", row.label, row.key)):
        by_label.setdefault(row.label, []).append(row)
    return {label: _spread(found) for label, found in by_label.items()}


def _spread(found: Sequence[Item], most: int = NUM_EXAMPLES) -> list[Item]:
    number = min(most, len(found))
    return [found[place * len(found) // number] for place in range(number)]


def _troubled(sources: Sequence[SourceRow]) -> str:
    """Lay out some of the sources that are not verified, by status, and what is wrong with them."""
    by_status: dict[str, list[SourceRow]] = {}
    for row in sources:
        if row.download.status != DownloadStatus.VERIFIED:
            by_status.setdefault(row.download.status.value, []).append(row)
    cells = [
        (row.source.url, status, row.download.error or "")
        for status, found in sorted(by_status.items())
        for row in _spread(found)
    ]
    return _table(("source", "status", "remark"), cells) if cells else ""


def _clip(row: ClipRow, pictures: Sequence[bytes]) -> str:
    facts = [row.split or "", row.identity or "", row.error or ""]
    if row.num_frames is not None:
        facts.append(f"{row.num_frames} frames from {row.start_s:.2f} s, face {row.face_px:.0f} px")
    field, words = MEASURES.get(row.reason or "", ("", ""))
    if (value := getattr(row, field, None)) is not None:
        facts.append(words.format(value))
    if row.duplicate_of is not None:
        facts.append(f"shows the same as {row.duplicate_of}")
    images = "".join(
        f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(data).decode()}'>"
        for data in _spread(pictures, NUM_PICTURES)
    )
    words = escape(" · ".join(fact for fact in facts if fact))
    # By its id a page tells whom it shows, when somebody is to be forgotten.
    return f"<p id='{row.key}'><b>{escape(row.url)}</b><br>{words}<br>{images}</p>"


def _histogram(counts: Mapping[str, int]) -> str:
    most = max([*counts.values(), 1])
    lines = [
        f"<tr><td>{escape(word)}</td><td>{count}</td>"
        f"<td class=wide><div class=bar style='width:{100 * count / most:.0f}%'></div></td></tr>"
        for word, count in counts.items()
    ]
    return "<table>" + "".join(lines) + "</table>"


def _distributions(kept: Sequence[ClipRow]) -> str:
    """Lay out how large, how long, how turned and how many to a person the kept clips are."""
    people = Counter(row.identity or "unnamed" for row in kept)
    columns = (
        ("Size of the face, px", [row.face_px for row in kept], 64),
        ("Length, frames", [row.num_frames for row in kept], 128),
        ("Head to the side, degrees", [row.yaw_deg for row in kept], 10),
        ("Head up or down, degrees", [row.pitch_deg for row in kept], 10),
        ("Number of clips of a person", list(people.values()), 1),
    )
    return "".join(
        _block("h3", title, _histogram(_binned([value for value in values if value is not None], step)))
        for title, values, step in columns
    )


def _block(level: str, title: str, content: str) -> str:
    return f"<div><{level}>{escape(title)}</{level}>{content}</div>"


def _binned(values: Sequence[float], step: int) -> dict[str, int]:
    """Count values in steps from their least to their greatest, and name each step."""
    places = Counter(math.floor(value / step) for value in values)
    if not places:
        return {}
    return {
        f"{place * step}" if step == 1 else f"{place * step} to {(place + 1) * step}": places[place]
        for place in range(min(places), max(places) + 1)
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(word)}</th>" for word in header)
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>" + "".join(lines) + "</table>"
