"""out/demo/report.html: what the demo did, in one file with its pictures inside."""

import base64
import csv
import html
import io
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from pipelines.environment import Environment
from preprocessing.media.strips import evenly_spaced, grid
from preprocessing.media.video import decode, probe

NUM_COLUMNS = 8
TILE_PX = 128
STYLE = (
    "body{font:15px system-ui;margin:2rem auto;max-width:72rem}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:right}td:first-child{text-align:left}"
    "iframe{width:100%;height:32rem;border:1px solid #ccc}img,video{max-width:100%;image-rendering:auto}"
)
BY_TIME = (
    "A clip marked “by time” is the last quarter of a video whose first three quarters were trained on: that "
    "split is not identity-disjoint, and its number says nothing about other people. The other clips show a "
    "person the model never saw: minutes on one single person do not teach it to paint others."
)
_COLUMNS = ("l1", "copy_source_l1", "improvement", "psnr", "ssim", "lpips")


def write_demo_report(environment: Environment, folder: Path) -> None:
    """Gather the contact sheet, curves, strips and numbers of the last run into `folder`/report.html."""
    evaluation = json.loads((environment.metrics / "evaluate.json").read_text())
    contact_sheet = (environment.shards / "report.html").read_text()
    strip = _png(film_strip(folder / "source.png", folder / "driving.mp4", folder / "animation.mp4"))
    video = base64.b64encode((folder / "animation.mp4").read_bytes()).decode()
    body = [
        "<h1>LIA demo</h1>",
        "<h2>Animation</h2><p>Rows: source, driving, result of the served model.</p>",
        _image(strip),
        f"<p><video controls loop width='256' src='data:video/mp4;base64,{video}'></video></p>",
        "<h2>Held-out clips</h2>",
        _table(evaluation["clips"]),
        f"<p>{BY_TIME}</p>",
        "<p>Rows: source, driving, result.</p>",
        *(
            f"<p>{html.escape(_name(row))}<br>{_image(_picture(environment, row), width_px=1024)}</p>"
            for row in evaluation["clips"]
        ),
        "<h2>Training</h2>",
        _image(training_curves(environment.metrics / "train.csv")),
        "<h2>Data</h2>",
        f"<iframe title='contact sheet' srcdoc='{html.escape(contact_sheet)}'></iframe>",
    ]
    page = f"<!doctype html><meta charset='utf-8'><title>LIA demo</title><style>{STYLE}</style>"
    (folder / "report.html").write_text(page + "\n".join(body) + "\n", encoding="utf-8")


def evaluation_table(evaluation: dict[str, Any]) -> str:
    """Lay the held-out clips' numbers out for a terminal."""
    lines = [f"{'held-out clip':<44}{'frames':>7}{'L1':>9}{'copying':>9}{'better by':>11}"]
    for row in evaluation["clips"]:
        lines.append(
            f"{_name(row):<44}{row['num_frames']:>7}{row['l1']:>9.4f}{row['copy_source_l1']:>9.4f}"
            f"{row['improvement']:>11.1%}"
        )
    return "\n".join([*lines, BY_TIME])


def film_strip(source: Path, driving: Path, result: Path) -> Image.Image:
    """Return three rows of evenly spaced frames: source, driving and result."""
    chosen = evenly_spaced(probe(driving).num_frames, NUM_COLUMNS)
    with Image.open(source) as portrait:
        rows = [[portrait.convert("RGB")] * len(chosen), _frames(driving, chosen), _frames(result, chosen)]
    return Image.fromarray(grid([_tile(image) for image in row] for row in rows))


def training_curves(path: Path) -> bytes:
    """Draw every loss of the table `path` by step, as a PNG file."""
    from matplotlib.figure import Figure

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [name for name in rows[0] if name.startswith("loss/")]
    figure = Figure(figsize=(10, 2.5 * ((len(losses) + 2) // 3)), layout="constrained")
    for number, name in enumerate(losses, 1):
        axes = figure.add_subplot((len(losses) + 2) // 3, 3, number, title=name, xlabel="step")
        points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        axes.plot([step for step, _ in points], [value for _, value in points])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def _frames(video: Path, chosen: Sequence[int] | np.ndarray) -> list[Image.Image]:
    wanted = set(map(int, chosen))
    frames = enumerate(islice(decode(video), max(wanted) + 1))
    return [Image.fromarray(frame.image) for number, frame in frames if number in wanted]


def _tile(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """Return the whole of `image` on a square of the sheet's size."""
    return np.asarray(ImageOps.pad(image, (TILE_PX, TILE_PX)))


def _table(clips: list[dict[str, Any]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("clip", "split", "frames", *_COLUMNS))
    rows = [
        f"<tr><td>{html.escape(row['url'])}</td><td>{'by time' if row['by_time'] else 'identity'}</td>"
        f"<td>{row['num_frames']}</td>" + "".join(f"<td>{_number(name, row[name])}</td>" for name in _COLUMNS)
        for row in clips
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _number(name: str, value: float) -> str:
    return f"{value:+.1%}" if name == "improvement" else f"{value:.4f}"


def _name(row: dict[str, Any]) -> str:
    return Path(row["url"]).name + (" (by time)" if row["by_time"] else "")


def _picture(environment: Environment, row: dict[str, Any]) -> bytes:
    return (environment.metrics / "pictures" / f"{row['clip']}.png").read_bytes()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()


def _image(png: bytes, width_px: int | None = None) -> str:
    width = f" width='{width_px}'" if width_px else ""
    return f"<img alt=''{width} src='data:image/png;base64,{base64.b64encode(png).decode()}'>"
