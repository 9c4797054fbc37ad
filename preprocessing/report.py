"""One HTML page over a shards run: how many of what, and a strip of every clip, all in one file."""

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from preprocessing.ledger import ClipRow, SourceRow, count_clips, count_sources

NUM_PICTURES = 8
STYLE = (
    "body{font:15px system-ui;margin:2rem;max-width:72rem}table{border-collapse:collapse;margin:1rem 0}"
    "td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}"
    ".bar{background:#4a7;height:.8rem}img{height:96px;image-rendering:auto}"
)


def write_report(
    path: Path,
    sources: Sequence[SourceRow],
    rows: Sequence[ClipRow],
    frames: Mapping[str, Sequence[bytes]],
) -> None:
    """Write the contact sheet.

    Args:
        path: the HTML file.
        sources: every source.
        rows: every candidate clip.
        frames: the JPEG files of the kept clips, by key.
    """
    body = [
        "<h1>Contact sheet</h1>",
        "<h2>Sources</h2>",
        _histogram(count_sources(sources)),
        _table(
            ("source", "status", "remark"),
            [(row.source.url, row.download.status.value, row.download.error or "") for row in sources],
        ),
        "<h2>Clips</h2>",
        _histogram(count_clips(rows)),
        "<h2>Kept clips</h2>",
        _distributions([row for row in rows if row.outcome == "kept"]),
        "<h2>Each clip</h2>",
        *(_clip(row, frames.get(row.key, ())) for row in rows),
    ]
    page = f"<!doctype html><meta charset='utf-8'><title>Contact sheet</title><style>{STYLE}</style>"
    path.write_text(page + "\n".join(body) + "\n", encoding="utf-8")


def _clip(row: ClipRow, frames: Sequence[bytes]) -> str:
    facts = [row.label, row.split or "", row.error or ""]
    if row.num_frames is not None:
        facts.append(f"{row.num_frames} frames from {row.start_s:.2f} s, face {row.face_px:.0f} px")
    chosen = (
        [frames[number * len(frames) // NUM_PICTURES] for number in range(NUM_PICTURES)] if frames else []
    )
    pictures = "".join(
        f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(data).decode()}'>" for data in chosen
    )
    words = escape(" · ".join(fact for fact in facts if fact))
    return f"<p><b>{escape(row.url)}</b><br>{words}<br>{pictures}</p>"


def _histogram(counts: Mapping[str, int]) -> str:
    most = max([*counts.values(), 1])
    lines = [
        f"<tr><td>{escape(word)}</td><td>{count}</td>"
        f"<td style='width:20rem'><div class='bar' style='width:{100 * count / most:.0f}%'></div></td></tr>"
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
        ("Clips of one person", list(people.values()), 1),
    )
    return "".join(
        f"<h3>{escape(title)}</h3>"
        + _histogram(_binned([value for value in values if value is not None], step))
        for title, values, step in columns
    )


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
