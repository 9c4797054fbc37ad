"""Pictures of the evaluation page: the best, median and worst pair of each protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lia_model.evaluation.metric_table import METRICS, PROTOCOL_METRICS
from lia_model.evaluation.page_tables import clip_names, improvements_by_clip
from lia_model.evaluation.scores import MODEL
from preprocessing.html_page import Strip, data_uri
from preprocessing.media.images import encode_jpeg

Record = Mapping[str, Any]

JPEG_QUALITY = 92
NUM_UNRANKED = 3
"""Transfers shown if none has a motion distance to rank them by."""


def picture_name(row: Record) -> str:
    """Return the file name of a pair's picture."""
    if row["protocol"] == "reconstruction":
        return f"{row['clip']}.png"
    return f"{row['clip']}--{row['source_clip']}.png"


def reconstruction_strips(report: Record, rows: Sequence[Record], pictures: Path) -> list[Strip]:
    """Return the best, median and worst reconstruction by the share of copying's L1 that the model saves."""
    by_clip = {
        row["clip"]: row for row in rows if (row["protocol"], row["model"]) == ("reconstruction", MODEL)
    }
    names, labels = clip_names(rows), strip_labels(report)
    improvement = improvements_by_clip(report)
    strips = []
    for rank, key in best_median_worst(improvement):
        l1, saved = (METRICS[name] for name in ("l1", "improvement"))
        remark = f"{l1.label} {l1.text(by_clip[key]['l1'])}, {saved.text(improvement[key])} against copying"
        strips.append(
            pair_strip(pictures / picture_name(by_clip[key]), f"{rank}: {names[key]}", remark, labels)
        )
    return strips


def transfer_strips(report: Record, rows: Sequence[Record], pictures: Path) -> list[Strip]:
    """Return the transfers with the lowest, median and highest motion distance; the first few without any."""
    transfers = [row for row in rows if (row["protocol"], row["model"]) == ("cross_identity", MODEL)]
    names, labels = clip_names(rows), strip_labels(report)
    ranked = {
        str(number): -row["motion"] for number, row in enumerate(transfers) if row["motion"] is not None
    }
    # Without landmarks there is no ranking; the first few show what transfer looks like.
    unranked = [("Pair", str(number)) for number in range(min(NUM_UNRANKED, len(transfers)))]
    strips = []
    for rank, number in best_median_worst(ranked) or unranked:
        row = transfers[int(number)]
        title = f"{rank} transfer: {names[row['clip']]} animates {Path(row['source_url']).name}"
        remark = ", ".join(
            f"{METRICS[name].label} {METRICS[name].text(row[name])}"
            for name in PROTOCOL_METRICS["cross_identity"]
        )
        strips.append(pair_strip(pictures / picture_name(row), title, remark, labels))
    return strips


def best_median_worst(values: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return (rank, key) of the highest, median and lowest value, or of fewer if there are fewer values."""
    order = sorted(values, key=lambda key: -values[key])
    if len(order) <= 1:
        return [("Only", key) for key in order]
    chosen = [("Best", order[0]), ("Worst", order[-1])]
    if len(order) > 2:
        chosen.insert(1, ("Median", order[len(order) // 2]))
    return chosen


def strip_labels(report: Record) -> list[str]:
    """Return the label of each row of a pair's picture, from top to bottom."""
    checkpoints = [one["name"] for one in report["models"] if one["weights_sha256"] is not None]
    return ["source", "driving", *("result" if name == MODEL else name for name in checkpoints)]


def pair_strip(picture: Path, title: str, remark: str, labels: Sequence[str]) -> Strip:
    """Return a pair's picture for a page; its id is the name of the file, see `picture_name`."""
    from PIL import Image

    with Image.open(picture) as image:
        jpeg = encode_jpeg(np.asarray(image.convert("RGB")), JPEG_QUALITY)
    return Strip(picture.stem, title, remark, labels, data_uri(jpeg, "image/jpeg"))
