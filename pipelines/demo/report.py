"""out/demo/report.html: what the demo did, in one file with its pictures inside."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from lia_model.evaluation.metric_table import METRICS
from lia_model.evaluation.page_pictures import pair_strip, strip_labels
from lia_model.evaluation.page_tables import clip_names
from preprocessing.html_page import Column, Strip, Table, TableRow, data_uri, render
from preprocessing.media.video_reader import decode, probe
from preprocessing.storage.files import write_atomically
from preprocessing.strips import evenly_spaced, grid

NUM_COLUMNS = 8
TILE_PX = 128
BY_TIME = (
    "A clip marked “by time” is the last quarter of a video whose first three quarters were trained on: that "
    "split is not identity-disjoint, and its number says nothing about other people. The other clips show a "
    "person the model never saw: minutes of training on a single person do not teach it to paint others."
)


@dataclass(frozen=True)
class DemoReport:
    """What the page shows."""

    animation: Strip
    video: str
    """Data URI of the animation."""
    clips: Table
    by_time: str
    """What the kinds of split mean."""
    verdict: Sequence[str]
    """Whether the model became champion, and what it was compared with, by line."""
    strips: Sequence[Strip]
    """Each held-out clip."""
    curves: str
    """Data URI of the losses by step."""
    contact_sheet: str
    """A whole HTML page."""


def write_demo_report(metrics: Path, contact_sheet: Path, folder: Path, verdict: str) -> None:
    """Gather the contact sheet, curves, strips and numbers of the last run into `folder`/report.html.

    Args:
        metrics: folder of the stages' metrics and the evaluation's pictures.
        contact_sheet: the page over the shards.
        folder: with source.png, driving.mp4 and animation.mp4.
        verdict: what the release gate said of the model, line by line.
    """
    evaluation = json.loads((metrics / "evaluate.json").read_text())
    report = DemoReport(
        animation=_animation_strip(folder),
        video=data_uri((folder / "animation.mp4").read_bytes(), "video/mp4"),
        clips=clip_table(evaluation["clips"]),
        by_time=BY_TIME,
        verdict=verdict.splitlines(),
        strips=_clip_strips(evaluation, metrics / "pictures"),
        curves=data_uri(training_curves(metrics / "train.csv"), "image/png"),
        contact_sheet=contact_sheet.read_text(encoding="utf-8"),
    )
    page = render(Path(__file__).with_suffix(".html"), report=report)
    with write_atomically(folder / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def evaluation_table(evaluation: Mapping[str, Any]) -> str:
    """Lay the held-out clips' numbers out for a terminal."""
    names, l1 = clip_names(evaluation["clips"]), METRICS["l1"]
    lines = [f"{'held-out clip':<44}{'frames':>7}{l1.label:>9}{'copying':>9}{'better by':>11}"]
    for row in evaluation["clips"]:
        lines.append(
            f"{names[row['clip']]:<44}{row['num_frames']:>7}{l1.text(row['l1']):>9}"
            f"{l1.text(row['copy_source_l1']):>9}{row['improvement']:>11.1%}"
        )
    return "\n".join([*lines, BY_TIME])


def clip_table(clips: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with a row for each held-out clip: the model's numbers beside those of copying."""
    saved, l1 = METRICS["improvement"], METRICS["l1"]
    names = ("psnr", "ssim", "lpips")
    return Table(
        "The model beside copying the source",
        [
            Column("clip", "long"),
            Column("split", "text"),
            Column("frames"),
            Column(l1.heading),
            Column(f"{l1.label} of copying"),
            Column(saved.heading),
            *(Column(METRICS[name].heading) for name in names),
        ],
        [
            TableRow(
                [
                    row["url"],
                    "by time" if row["by_time"] else "identity",
                    str(row["num_frames"]),
                    l1.text(row["l1"]),
                    l1.text(row["copy_source_l1"]),
                    saved.text(row["improvement"]),
                    *(METRICS[name].text(row[name]) for name in names),
                ]
            )
            for row in clips
        ],
    )


def film_strip(source: Path, driving: Path, result: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Return three rows of evenly spaced frames: source, driving and result."""
    chosen = evenly_spaced(probe(driving).num_frames, NUM_COLUMNS).tolist()
    with Image.open(source) as portrait:
        rows = [[portrait.convert("RGB")] * len(chosen), _frames(driving, chosen), _frames(result, chosen)]
    return grid([_tile(image) for image in row] for row in rows)


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


def _animation_strip(folder: Path) -> Strip:
    picture = film_strip(folder / "source.png", folder / "driving.mp4", folder / "animation.mp4")
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="png")
    labels = ["source", "driving", "result"]
    return Strip(
        "animation", "Animation by the served model", "", labels, data_uri(buffer.getvalue(), "image/png")
    )


def _clip_strips(evaluation: Mapping[str, Any], pictures: Path) -> list[Strip]:
    names, labels = clip_names(evaluation["clips"]), strip_labels(evaluation)
    return [
        pair_strip(pictures / f"{row['clip']}.png", names[row["clip"]], "", labels)
        for row in evaluation["clips"]
    ]


def _frames(video: Path, chosen: Sequence[int]) -> list[Image.Image]:
    frames = enumerate(islice(decode(video), max(chosen) + 1))
    return [Image.fromarray(frame.image) for number, frame in frames if number in chosen]


def _tile(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """Return the whole of `image` on a square of the strip's height, with black bars."""
    return np.asarray(ImageOps.pad(image, (TILE_PX, TILE_PX)))
