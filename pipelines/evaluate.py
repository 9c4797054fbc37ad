"""Stage evaluate: checkpoints/final and the held-out clips to metrics/evaluate.json, a table and pictures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from prefect import flow, get_run_logger, task

from lia_model import registry
from lia_model.animator import Animator
from lia_model.checkpoint import read_config
from lia_model.data import ShardedClips
from lia_model.evaluation import ClipScores, EvaluationClip, evaluate, mean_scores
from lia_model.settings import EvaluateSettings
from pipelines.environment import Environment
from pipelines.params import Params

NUM_PICTURE_COLUMNS = 8


def run_evaluate(params: Params, environment: Environment) -> int:
    """Evaluate checkpoints/final and log the numbers to its MLflow run.

    Raises:
        ValueError: there is no checkpoint, no held-out clip, or no file with LPIPS's weights.
    """
    settings = absolute(params.evaluate, environment.root)
    provenance = read_config(environment.checkpoints / "final").provenance
    ShardedClips(environment.shards, "test")
    evaluate_flow(settings, provenance["run_id"], environment)
    return 0


def absolute(settings: EvaluateSettings, root: Path) -> EvaluateSettings:
    """Return the settings with absolute paths.

    Raises:
        ValueError: the file with LPIPS's weights does not exist.
    """
    lpips = root / settings.lpips
    if not lpips.is_file():
        raise ValueError(
            f"evaluate.lpips: {lpips} does not exist; run `lia fetch models`, or name AlexNet's file"
        )
    return settings.model_copy(update={"lpips": lpips})


@flow(
    name="evaluate",
    flow_run_name="evaluate-{environment.root.name}",
    persist_result=False,
    validate_parameters=False,
)
def evaluate_flow(settings: EvaluateSettings, run_id: str, environment: Environment) -> None:
    """Measure, write metrics/, and log to the run that trained the checkpoint."""
    report = measure(environment.checkpoints / "final", settings, environment)
    log_to_run(run_id, report, environment)
    logger = get_run_logger()
    for row in report["clips"]:
        logger.info("%s", describe(row))


def describe(row: dict[str, Any]) -> str:
    """Return one line on one clip: the model's L1 beside that of copying the source frame."""
    split = "split by time, not identity-disjoint" if row["by_time"] else "identity not trained on"
    return (
        f"{row['url']} ({row['num_frames']} frames, {split}): L1 {row['l1']:.4f}, "
        f"copying the source {row['copy_source_l1']:.4f}, {row['improvement']:+.1%}"
    )


@task(name="measure", persist_result=False)
def measure(final: Path, settings: EvaluateSettings, environment: Environment) -> dict[str, Any]:
    """Return means and rows of the evaluation, and write them with their pictures to metrics/."""
    pictures = environment.metrics / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)

    def save_picture(scores: ClipScores, item: EvaluationClip, result: np.ndarray) -> None:
        save_strip(pictures / f"{scores.key}.png", item, result)

    animator = Animator.load(final, precision=settings.precision)
    scores = evaluate(animator, environment.shards, settings, save_picture)
    report = {
        "mean": mean_scores(scores),
        "num_clips": len(scores),
        "identity_disjoint": not any(score.by_time for score in scores),
        "lpips_backbone": "alexnet",
        "clips": [score.as_row() for score in scores],
        "frames": {score.key: score.frame_numbers for score in scores},
    }
    (environment.metrics / "evaluate.json").write_text(json.dumps(report, indent=1) + "\n")
    with (environment.metrics / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(report["clips"][0]))
        writer.writeheader()
        writer.writerows(report["clips"])
    return report


def save_strip(path: Path, item: EvaluationClip, result: np.ndarray) -> None:
    """Write a picture of evenly spaced frames: source, driving and result, one row each."""
    from PIL import Image

    columns = np.linspace(0, len(result) - 1, NUM_PICTURE_COLUMNS).round().astype(int)
    rows = ([item.source] * len(columns), item.frames[columns], result[columns])
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(path)


@task(name="log to MLflow", persist_result=False, retries=2, retry_delay_seconds=2)
def log_to_run(run_id: str, report: dict[str, Any], environment: Environment) -> None:
    """Log the means and every file of the evaluation to the training's run."""
    run = registry.Run(run_id)
    run.log_metrics(0, {f"evaluate/{name}": value for name, value in report["mean"].items()})
    run.log_file(environment.metrics / "evaluate.json", "evaluate")
    for picture in sorted((environment.metrics / "pictures").iterdir()):
        run.log_file(picture, "evaluate/pictures")
