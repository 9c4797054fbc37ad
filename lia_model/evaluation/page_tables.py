"""Tables of the evaluation page: means with intervals, every clip, published numbers, distances of sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lia_model.evaluation.literature import PUBLISHED
from lia_model.evaluation.metric_table import METRICS, MISSING, PIXEL_METRICS, PROTOCOL_METRICS
from lia_model.evaluation.scores import COPY_SOURCE, MODEL
from preprocessing.html_page import Cell, Column, Table, TableRow

Record = Mapping[str, Any]

MODEL_NAMES = {MODEL: "this model", COPY_SOURCE: "copying the source"}


def means_table(report: Record, protocol: str) -> Table | None:
    """Return a table of each model's means with their intervals; None if nothing was computed."""
    models = _means_by_model(report, protocol)
    names = [name for name in PROTOCOL_METRICS[protocol] if any(name in means for means in models.values())]
    if not names:
        return None
    return Table(
        f"Means over clips, {protocol.replace('_', '-')}",
        [Column("model"), *_columns(names)],
        [
            TableRow(
                [model_name(model), *(_mean_cell(name, means.get(name)) for name in names)], model == MODEL
            )
            for model, means in models.items()
        ],
    )


def set_distance_table(report: Record) -> Table | None:
    """Return FID and FVD with sample counts and feature networks; None if neither was computed."""
    if not report["set_distances"]:
        return None
    return Table(
        "Distances of sets",
        [
            Column("model"),
            Column("metric"),
            Column("protocol", "text"),
            Column("distance ↓"),
            Column("samples × features"),
            Column("features", "text"),
        ],
        [
            TableRow(
                [
                    model_name(one["model"]),
                    METRICS[one["metric"]].label,
                    one["protocol"].replace("_", "-"),
                    METRICS[one["metric"]].text(one["value"]),
                    f"{one['num_samples']} × {one['num_features']}",
                    f"{one['features_file']}, sha256 {one['features_sha256'][:12]}",
                ],
                one["model"] == MODEL,
            )
            for one in report["set_distances"]
        ],
    )


def clip_tables(report: Record, rows: Sequence[Record]) -> list[Table]:
    """Return a table for each protocol that has pairs, with a row for each pair and model."""
    names, improvement = clip_names(rows), improvements_by_clip(report)
    reconstructions, transfers = [], []
    for row in rows:
        model, frames = model_name(row["model"]), str(row["num_frames"])
        values = [METRICS[name].text(row[name]) for name in PROTOCOL_METRICS[row["protocol"]]]
        if row["protocol"] == "reconstruction":
            saved = improvement[row["clip"]] if row["model"] == MODEL else None
            values.append(METRICS["improvement"].text(saved))
            reconstructions.append(TableRow([names[row["clip"]], model, frames, *values]))
        else:
            source = Path(row["source_url"]).name
            transfers.append(TableRow([names[row["clip"]], model, source, frames, *values]))
    by, source, frames = Column("by", "text"), Column("source", "text"), Column("frames")
    columns = _columns((*PROTOCOL_METRICS["reconstruction"], "improvement"))
    first = Table("Reconstruction", [Column("clip"), by, frames, *columns], reconstructions, True)
    columns = _columns(PROTOCOL_METRICS["cross_identity"])
    second = Table("Transfer", [Column("driving clip"), by, source, frames, *columns], transfers, True)
    return [table for table in (first, second) if table.rows]


def literature_table(report: Record, protocol: str) -> Table:
    """Return the published pixel metrics and, below them, ours, each with its protocol.

    Args:
        report: the content of evaluate.json.
        protocol: one line on how this evaluation was measured.
    """
    lines = [
        TableRow([row.method, *(getattr(row, name) for name in PIXEL_METRICS), row.source, row.protocol])
        for row in PUBLISHED
    ]
    for model, means in _means_by_model(report, "reconstruction").items():
        values = [METRICS[name].text(means[name]["mean"]) for name in PIXEL_METRICS]
        measured = protocol if model == MODEL else "as this model"
        lines.append(TableRow([model_name(model), *values, "this evaluation", measured], model == MODEL))
    origin = (Column("source", "text"), Column("protocol", "long"))
    return Table("Published numbers and ours", [Column("method"), *_columns(PIXEL_METRICS), *origin], lines)


def _mean_cell(name: str, entry: Record | None) -> str | Cell:
    if entry is None:
        return MISSING
    text = METRICS[name].text
    if entry["low"] is None:
        return text(entry["mean"])
    return Cell(text(entry["mean"]), f"{text(entry['low'])} to {text(entry['high'])}")


def _means_by_model(report: Record, protocol: str) -> dict[str, dict[str, Record]]:
    found: dict[str, dict[str, Record]] = {}
    for entry in report["summary"]:
        if entry["protocol"] == protocol:
            found.setdefault(entry["model"], {})[entry["metric"]] = entry
    return found


def _columns(names: Sequence[str]) -> list[Column]:
    return [Column(METRICS[name].heading) for name in names]


def improvements_by_clip(report: Record) -> dict[str, float]:
    """Return the share of copying's L1 that our model saves, by clip key."""
    return {one["clip"]: one["improvement"] for one in report["clips"]}


def clip_names(rows: Sequence[Record]) -> dict[str, str]:
    """Return a short name of each driving clip: its file name, and the end of its key if others share it."""
    keys: dict[str, set[str]] = {}
    for row in rows:
        keys.setdefault(row["url"], set()).add(row["clip"])
    return {
        row["clip"]: Path(row["url"]).name
        + (f" {row['clip'].partition('-')[2]}" if len(keys[row["url"]]) > 1 else "")
        + (" (by time)" if row["by_time"] else "")
        for row in rows
    }


def model_name(model: str) -> str:
    """Return a model's name on the page; other checkpoints keep the name of the report."""
    return MODEL_NAMES.get(model, model)
