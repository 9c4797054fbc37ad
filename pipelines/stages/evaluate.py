"""Stage evaluate: measures checkpoints/final on the held-out clips and writes metrics/.

`evaluate.json` holds the report, `clips.parquet` a row per pair and model, `evaluation_list.json` the pairs,
with which the evaluation can be repeated, and `evaluation.html` a page of it all.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prefect import flow, get_run_logger, task

from lia_model.checkpoints.directory import read_config
from lia_model.data.pair_choice import choose_pairs
from lia_model.data.pair_list import read_pair_list, write_pair_list
from lia_model.data.pair_reader import PairFrames, PairReader
from lia_model.device.allocator import keep_freed_memory
from lia_model.evaluation.metric_table import METRICS
from lia_model.evaluation.page import evaluation_page, left_out
from lia_model.evaluation.page_pictures import picture_name
from lia_model.evaluation.scores import COPY_SOURCE, MODEL, EvaluatedModel, Instruments, Score, evaluate
from lia_model.evaluation.summary import make_report
from lia_model.registry import models, runs
from lia_model.settings import EvaluateSettings
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.checkpoint_run import run_of_checkpoint
from pipelines.stages.held_out_shards import held_out_shards
from preprocessing.shards.manifest import Manifest, read_manifest
from preprocessing.storage.files import file_sha256, write_atomically
from preprocessing.storage.object_store import Store
from preprocessing.strips import evenly_spaced, grid

NUM_PICTURE_COLUMNS = 8


@dataclass(frozen=True)
class Comparison:
    """What an evaluation compares."""

    settings: EvaluateSettings
    """With absolute paths."""
    baselines: Mapping[str, str]
    """Further models, name in the report to URI."""
    pair_list: Path | None
    """File with the pairs of an earlier evaluation to repeat; None chooses them."""


def run_evaluate(
    params: Params,
    paths: ProjectPaths,
    pair_list: Path | None = None,
    baselines: Mapping[str, str] | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Evaluate checkpoints/final, log the report to its MLflow run and return it.

    Args:
        params: the settings.
        paths: of the project.
        pair_list: an evaluation_list.json to repeat; None chooses the pairs.
        baselines: models in addition to those of the settings, name to URI.
        store: where held-out clips are fetched from that are not in data/shards; None for nowhere.

    Raises:
        ValueError: the checkpoint, the held-out clips, the weights of LPIPS or a baseline do not exist, or
            the shards do not hold the list's frames.
    """
    keep_freed_memory()
    settings = params.evaluate.with_paths_under(paths.root)
    require_lpips(settings.lpips)
    # Raises for what is no checkpoint, before anything starts.
    read_config(paths.checkpoints / "final")
    with held_out_shards(paths.shards, params.train.shard_cache, store) as shards:
        return _evaluate_on(shards, settings, paths, pair_list, dict(baselines or {}))


def _evaluate_on(
    shards: Path,
    settings: EvaluateSettings,
    paths: ProjectPaths,
    pair_list: Path | None,
    baselines: dict[str, str],
) -> dict[str, Any]:
    final = paths.checkpoints / "final"
    reader = PairReader(shards)
    if pair_list is not None:
        reader.require(read_pair_list(pair_list))
    named = {uri: uri for uri in settings.baselines} | baselines
    taken = named.keys() & {MODEL, COPY_SOURCE}
    if taken:
        raise ValueError(
            f"got a baseline called {min(taken)!r}, a name that the report uses itself: write ./{min(taken)}"
        )
    for uri in named.values():
        models.resolve(uri)
    comparison = Comparison(settings, named, pair_list)
    run = run_of_checkpoint(final, paths.artifacts, paths.shards)
    return evaluate_flow(paths.root.name, comparison, final, shards, paths.metrics, run)


def require_lpips(weights: Path) -> None:
    """Check that the file with the weights of LPIPS exists, before anything starts.

    Raises:
        ValueError: it does not.
    """
    if not weights.is_file():
        raise ValueError(
            f"evaluate.lpips: {weights} does not exist; run `lia fetch models`, or name AlexNet's file"
        )


@flow(name="evaluate", flow_run_name="evaluate-{project}", persist_result=False, validate_parameters=False)
def evaluate_flow(
    project: str, comparison: Comparison, final: Path, shards: Path, metrics: Path, run: runs.Run
) -> dict[str, Any]:
    """Measure, write the folder `metrics`, and log to the run of the checkpoint `final`."""
    report = evaluate_checkpoint(final, comparison, shards, metrics)
    log_to_run(run, report, metrics)
    logger = get_run_logger()
    for row in report["clips"]:
        logger.info("%s", clip_line(row, report["identity_disjoint"]))
    return report


def clip_line(row: dict[str, Any], identity_disjoint: bool | None) -> str:
    """Return one line on one clip: the model's L1 beside that of copying the source frame."""
    people = "held out" if identity_disjoint is None else "person not trained on"
    split = "split by time, not identity-disjoint" if row["by_time"] else people
    l1 = METRICS["l1"]
    return (
        f"{row['url']} ({row['num_frames']} frames, {split}): {l1.label} {l1.text(row['l1'])}, copying the "
        f"source {l1.text(row['copy_source_l1'])}, {METRICS['improvement'].text(row['improvement'])}"
    )


def summary_lines(report: dict[str, Any], metrics: Path) -> str:
    """Return means with their intervals for a terminal, and the page's path as the last line."""
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
def evaluate_checkpoint(final: Path, comparison: Comparison, shards: Path, metrics: Path) -> dict[str, Any]:
    """Return the report on a checkpoint, and write it with pairs, tables, pictures and page to `metrics`."""
    settings = comparison.settings
    pictures = metrics / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)

    def save_picture(item: PairFrames, results: Mapping[str, np.ndarray], scores: Sequence[Score]) -> None:
        shown = [frames for name, frames in results.items() if name != COPY_SOURCE]
        save_strip(pictures / picture_name(scores[0].as_row()), item, shown)

    reader = PairReader(shards)
    pair_list = comparison.pair_list
    pairs = choose_pairs(reader, settings) if pair_list is None else read_pair_list(pair_list)
    write_pair_list(pairs, metrics / "evaluation_list.json")
    evaluated = [
        EvaluatedModel.load(MODEL, final, settings),
        EvaluatedModel(COPY_SOURCE, None),
        *(EvaluatedModel.load(name, uri, settings) for name, uri in comparison.baselines.items()),
    ]
    instruments = Instruments.open(settings)
    scores = evaluate(evaluated, reader, pairs, instruments, settings.batch_size, save_picture)
    manifest = read_manifest(shards)
    report = make_report(scores, pairs, instruments, evaluated, settings, manifest)
    report["frozen"] = [
        {"file": "evaluation_list.json", "sha256": file_sha256(metrics / "evaluation_list.json")},
        {"file": "manifest.json", "sha256": pairs.manifest_sha256},
    ]
    write_report(report, [score.as_row() for score in scores], manifest, metrics)
    return report


def write_report(
    report: dict[str, Any], rows: list[dict[str, Any]], manifest: Manifest, metrics: Path
) -> None:
    """Write the report, the tables of clips and the page to `metrics`, which holds the pictures."""
    # Never into a file that is there: DVC may have linked it to its cache.
    with write_atomically(metrics / "evaluate.json") as partial:
        partial.write_text(json.dumps(report, indent=1) + "\n")
    with write_atomically(metrics / "clips.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(report["clips"][0]))
        writer.writeheader()
        writer.writerows(report["clips"])
    write_parquet(rows, metrics / "clips.parquet")
    page = evaluation_page(report, rows, manifest, metrics / "pictures")
    with write_atomically(metrics / "evaluation.html") as partial:
        partial.write_text(page, encoding="utf-8")


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the rows with a fixed type per column, so that a metric without values is numeric too."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {bool: pa.bool_(), int: pa.int64(), str: pa.string()}
    schema = pa.schema([(name, kinds.get(type(value), pa.float64())) for name, value in rows[0].items()])
    with write_atomically(path) as partial:
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), partial)


def save_strip(path: Path, item: PairFrames, results: Sequence[np.ndarray]) -> None:
    """Write a picture of evenly spaced frames: source, driving and each model's result, one row each."""
    from PIL import Image

    columns = evenly_spaced(len(item.frames), NUM_PICTURE_COLUMNS)
    rows = ([item.source] * len(columns), item.frames[columns], *(frames[columns] for frames in results))
    Image.fromarray(grid(rows)).save(path)


@task(name="log to MLflow", persist_result=False, retries=2, retry_delay_seconds=2)
def log_to_run(run: runs.Run, report: dict[str, Any], metrics: Path) -> None:
    """Log the means and the files of the evaluation to the run of the checkpoint."""
    run.log_metrics(0, {f"evaluate/{name}": value for name, value in report["mean"].items()})
    for name in ("evaluate.json", "evaluation_list.json", "clips.parquet", "evaluation.html"):
        run.log_file(metrics / name, runs.EVALUATION)
    for picture in sorted((metrics / "pictures").iterdir()):
        run.log_file(picture, runs.EVALUATION_PICTURES)
