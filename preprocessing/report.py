"""One HTML page over a shards run: how many of what, and a strip of every clip, all in one file."""

import base64
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


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(word)}</th>" for word in header)
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>" + "".join(lines) + "</table>"
