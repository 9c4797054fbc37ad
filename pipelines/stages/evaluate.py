"""Stage evaluate: checkpoints/final and the held-out clips to numbers, tables and a page in metrics/.

`evaluate.json` holds means and intervals, `clips.parquet` a row for each pair and model,
`evaluation_list.json` what was compared, so that it can be repeated, and `evaluation.html` all to look at.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prefect import flow, get_run_logger, task

from lia_model.allocator import keep_freed_memory
from lia_model.checkpoints.directory import read_config
from lia_model.evaluation.metric_table import METRICS, PIXEL_METRICS, PROTOCOL_METRICS
from lia_model.evaluation.page import evaluation_page, left_out
from lia_model.evaluation.page_pictures import picture_name
from lia_model.evaluation.pairs import (
    PairFrames,
    PairList,
    PairReader,
    Skipped,
    freeze,
    read_list,
    write_list,
)
from lia_model.evaluation.scores import (
    COPY_SOURCE,
    MODEL,
    Candidate,
    Instruments,
    Score,
    evaluate,
)
from lia_model.evaluation.summary import Summary, improvements, summarise
from lia_model.registry import models, runs
from lia_model.settings import EvaluateSettings
from pipelines.environment import Environment
from pipelines.params import Params
from preprocessing.faces.embedder import EMBEDDING_MODEL, LANDMARK_MODEL
from preprocessing.media.strips import evenly_spaced, grid
from preprocessing.shards.manifest import read_manifest

NUM_PICTURE_COLUMNS = 8


@dataclass(frozen=True)
class Comparison:
    """What one evaluation compares."""

    settings: EvaluateSettings
    """With absolute paths."""
    baselines: Mapping[str, str]
    """Name in the result and URI of each model measured beside ours."""
    pair_list: Path | None
    """File with a frozen list to repeat; None chooses anew."""


def run_evaluate(
    params: Params,
    environment: Environment,
    pair_list: Path | None = None,
    baselines: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate checkpoints/final, log the numbers to its MLflow run and return what evaluate.json holds.

    Args:
        params: the settings.
        environment: the machine.
        pair_list: an evaluation_list.json to repeat; None chooses anew.
        baselines: models beside those of the settings, name to URI.

    Raises:
        ValueError: there is no checkpoint, no held-out clip, no file with LPIPS's weights, no such baseline,
            or the shards do not hold the list.
    """
    keep_freed_memory()
    settings = params.evaluate.with_paths_under(environment.root)
    require_lpips(settings.lpips)
    provenance = read_config(environment.checkpoints / "final").provenance
    reader = PairReader(environment.shards)
    if pair_list is not None:
        reader.require(read_list(pair_list))
    named = {uri: uri for uri in settings.baselines} | dict(baselines or {})
    taken = named.keys() & {MODEL, COPY_SOURCE}
    if taken:
        raise ValueError(
            f"got a baseline called {min(taken)!r}; that name is the result's own: write ./{min(taken)}"
        )
    for uri in named.values():
        models.resolve(uri)
    return evaluate_flow(Comparison(settings, named, pair_list), provenance["run_id"], environment)


def require_lpips(weights: Path) -> None:
    """Check, before anything starts, that the file with LPIPS's weights exists.

    Raises:
        ValueError: it does not.
    """
    if not weights.is_file():
        raise ValueError(
            f"evaluate.lpips: {weights} does not exist; run `lia fetch models`, or name AlexNet's file"
        )


@flow(
    name="evaluate",
    flow_run_name="evaluate-{environment.root.name}",
    persist_result=False,
    validate_parameters=False,
)
def evaluate_flow(comparison: Comparison, run_id: str, environment: Environment) -> dict[str, Any]:
    """Measure, write metrics/, and log to the run that trained the checkpoint."""
    report = measure(environment.checkpoints / "final", comparison, environment)
    log_to_run(run_id, report, environment)
    logger = get_run_logger()
    for row in report["clips"]:
        logger.info("%s", describe(row))
    return report


def describe(row: dict[str, Any]) -> str:
    """Return one line on one clip: the model's L1 beside that of copying the source frame."""
    split = "split by time, not identity-disjoint" if row["by_time"] else "identity not trained on"
    l1 = METRICS["l1"]
    return (
        f"{row['url']} ({row['num_frames']} frames, {split}): {l1.label} {l1.text(row['l1'])}, copying the "
        f"source {l1.text(row['copy_source_l1'])}, {METRICS['improvement'].text(row['improvement'])}"
    )


def as_lines(report: dict[str, Any], metrics: Path) -> str:
    """Lay out means with their intervals for a terminal, and say where the rest is."""
    lines = [f"{'model':<28}{'protocol':<16}{'metric':<8}{'mean':>9}  95 % interval"]
    for one in report["summary"]:
        interval = "" if one["low"] is None else f"{one['low']:.4f} to {one['high']:.4f}"
        line = (
            f"{one['model'][-26:]:<28}{one['protocol']:<16}{one['metric']:<8}{one['mean']:>9.4f}  {interval}"
        )
        lines.append(line.rstrip())
    for one in report["set_distances"]:
        head = f"{one['model'][-26:]:<28}{one['protocol']:<16}{one['metric']:<8}"
        lines.append(f"{head}{one['value']:>9.2f}  {one['features_file']}")
    lines += [
        f"not computed: {', '.join(names)}: {reason}" for reason, names in left_out(report["skipped"]).items()
    ]
    return "\n".join([*lines, str(metrics / "evaluation.html")])


@task(name="measure", persist_result=False)
def measure(final: Path, comparison: Comparison, environment: Environment) -> dict[str, Any]:
    """Return the report of the evaluation, and write it with lists, tables, pictures and page to metrics/."""
    settings = comparison.settings
    pictures = environment.metrics / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)

    def save_picture(item: PairFrames, results: Mapping[str, np.ndarray], scores: Sequence[Score]) -> None:
        shown = [frames for name, frames in results.items() if name != COPY_SOURCE]
        save_strip(pictures / picture_name(scores[0].as_row()), item, shown)

    reader = PairReader(environment.shards)
    pairs = read_list(comparison.pair_list) if comparison.pair_list else freeze(reader, settings)
    pair_list = environment.metrics / "evaluation_list.json"
    write_list(pairs, pair_list)
    candidates = [
        Candidate.load(MODEL, final, settings),
        Candidate(COPY_SOURCE, None),
        *(Candidate.load(name, uri, settings) for name, uri in comparison.baselines.items()),
    ]
    instruments = Instruments.open(settings)
    scores = evaluate(candidates, reader, pairs, instruments, settings.batch_size, save_picture)
    report = make_report(scores, pairs, instruments, candidates, settings)
    report["frozen"] = [
        {"file": "evaluation_list.json", "sha256": hashlib.sha256(pair_list.read_bytes()).hexdigest()},
        {"file": "manifest.json", "sha256": pairs.manifest_sha256},
    ]
    write_results(report, [score.as_row() for score in scores], environment)
    return report


def make_report(
    scores: Sequence[Score],
    pairs: PairList,
    instruments: Instruments,
    candidates: Sequence[Candidate],
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Return what evaluate.json holds: means flat for `dvc metrics`, the rest as lists of records."""
    summary = summarise(scores, settings.num_resamples, settings.seed)
    sets = [distance.results() for distance in instruments.sets]
    rows = clip_rows(scores)
    skipped = [*pairs.skipped, *instruments.skipped, *(each for _, missing in sets for each in missing)]
    if instruments.faces is not None:
        skipped += faceless(summary, pairs)
    faces = [
        {"measures": ["akd", "motion"], "model": LANDMARK_MODEL},
        {"measures": ["aed", "csim"], "model": EMBEDDING_MODEL},
    ]
    return {
        "mean": flat_means(summary, [row["improvement"] for row in rows]),
        "num_clips": len(rows),
        "identity_disjoint": not any(row["by_time"] for row in rows),
        "lpips_backbone": "alexnet",
        "num_unknown_identities": pairs.num_unknown_identities,
        "summary": [
            {"model": model, "protocol": protocol, "metric": metric, **entry}
            for model, protocols in summary.items()
            for protocol, metrics in protocols.items()
            for metric, entry in metrics.items()
        ],
        "set_distances": [record for records, _ in sets for record in records],
        "measured_by": [
            {"measures": ["lpips"], "model": "AlexNet, LPIPS 0.1"},
            *(faces if instruments.faces is not None else ()),
        ],
        "models": [
            {"name": one.name, "version": one.version, "weights_sha256": one.weights_sha256}
            for one in candidates
        ],
        "skipped": [each.model_dump() for each in skipped],
        "clips": rows,
        "frames": {pair.driving: pair.frames for pair in pairs.pairs if pair.protocol == "reconstruction"},
    }


def faceless(summary: Summary, pairs: PairList) -> list[Skipped]:
    """Return the metrics that a model has none of, because no face was found where one was needed."""
    protocols = dict.fromkeys(pair.protocol for pair in pairs.pairs)
    return [
        Skipped(what=metric, reason=f"no face was found in what {model} made of the {protocol} pairs")
        for model, measured in summary.items()
        for protocol in protocols
        for metric in PROTOCOL_METRICS[protocol]
        if metric not in measured.get(protocol, {})
    ]


def flat_means(summary: Summary, improvement: Sequence[float]) -> dict[str, float]:
    """Return our model's means by metric; others' names begin with `copy_source_` or `cross_identity_`."""
    ours = summary[MODEL]
    copied = summary[COPY_SOURCE]["reconstruction"]
    named = {name: entry["mean"] for name, entry in ours["reconstruction"].items()}
    named |= {f"{COPY_SOURCE}_{name}": entry["mean"] for name, entry in copied.items()}
    named["improvement"] = float(np.mean(improvement))
    transfer = ours.get("cross_identity", {})
    return named | {f"cross_identity_{name}": entry["mean"] for name, entry in transfer.items()}


def clip_rows(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return a row for each reconstructed clip: our model's numbers beside those of copying."""
    better_by = improvements(scores)
    rows: dict[str, dict[str, Any]] = {}
    for score in scores:
        if score.pair.protocol != "reconstruction" or score.model not in (MODEL, COPY_SOURCE):
            continue
        row = score.as_row()
        prefix = "" if score.model == MODEL else f"{COPY_SOURCE}_"
        names = PROTOCOL_METRICS["reconstruction"] if score.model == MODEL else PIXEL_METRICS
        head = {name: row[name] for name in ("clip", "url", "by_time", "num_frames")}
        rows.setdefault(score.driving.key, head).update({f"{prefix}{name}": row[name] for name in names})
    return [{**row, "improvement": better_by[key]} for key, row in rows.items()]


def write_results(report: dict[str, Any], rows: list[dict[str, Any]], environment: Environment) -> None:
    """Write the report, the tables of clips and the page to metrics/."""
    folder = environment.metrics
    (folder / "evaluate.json").write_text(json.dumps(report, indent=1) + "\n")
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(report["clips"][0]))
        writer.writeheader()
        writer.writerows(report["clips"])
    write_parquet(rows, folder / "clips.parquet")
    page = evaluation_page(report, rows, read_manifest(environment.shards), folder / "pictures")
    (folder / "evaluation.html").write_text(page, encoding="utf-8")


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the rows with one type a column, so that a metric nobody has is still a number's column."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {bool: pa.bool_(), int: pa.int64(), str: pa.string()}
    schema = pa.schema([(name, kinds.get(type(value), pa.float64())) for name, value in rows[0].items()])
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def save_strip(path: Path, item: PairFrames, results: Sequence[np.ndarray]) -> None:
    """Write a picture of evenly spaced frames: source, driving and each model's result, one row each."""
    from PIL import Image

    columns = evenly_spaced(len(item.frames), NUM_PICTURE_COLUMNS)
    rows = ([item.source] * len(columns), item.frames[columns], *(frames[columns] for frames in results))
    Image.fromarray(grid(rows)).save(path)


@task(name="log to MLflow", persist_result=False, retries=2, retry_delay_seconds=2)
def log_to_run(run_id: str, report: dict[str, Any], environment: Environment) -> None:
    """Log the means and every file of the evaluation to the training's run."""
    run = runs.Run(run_id)
    run.log_metrics(0, {f"evaluate/{name}": value for name, value in report["mean"].items()})
    for name in ("evaluate.json", "evaluation_list.json", "clips.parquet", "evaluation.html"):
        run.log_file(environment.metrics / name, "evaluate")
    for picture in sorted((environment.metrics / "pictures").iterdir()):
        run.log_file(picture, "evaluate/pictures")
