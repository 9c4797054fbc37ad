"""What a run shows on its page in Prefect: tables of outcomes and of the evaluation, and what it made."""

import csv
import json
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from lia_model.checkpoints.directory import read_config
from pipelines.environment import Environment
from pipelines.project_paths import ProjectPaths
from preprocessing.download.credentials import mask_credentials
from preprocessing.shards.manifest import data_digest, read_manifest


def show_data_set(paths: ProjectPaths) -> None:
    """Show how many clips had which outcome, and the version of the data."""
    manifest = read_manifest(paths.shards)
    create_table_artifact(
        key="outcomes",
        table=[{"outcome": name, "clips": number} for name, number in sorted(manifest.counts.clips.items())],
        description=f"candidate clips of data {data_digest(manifest)} by outcome",
    )
    frames = ", ".join(f"{number} {split}" for split, number in sorted(manifest.counts.frames.items()))
    create_markdown_artifact(
        key="data-set",
        markdown=(
            f"data `{data_digest(manifest)}` in `{paths.shards}`: frames {frames}; "
            f"people apart between the splits: {manifest.identity_disjoint} "
            f"({manifest.identity_disjoint_reason})"
        ),
    )


def show_evaluation(environment: Environment) -> None:
    """Show the evaluation's means, and where its pictures, its MLflow run and its data are."""
    paths = environment.paths
    report = json.loads((paths.metrics / "evaluate.json").read_text())
    create_table_artifact(
        key="evaluation",
        table=[
            {name: one[name] for name in ("model", "protocol", "metric", "mean", "low", "high")}
            for one in report["summary"]
        ],
        description="means on held-out clips with 95 % intervals, lower L1 and LPIPS are better",
    )
    provenance = read_config(paths.checkpoints / "final").provenance
    create_markdown_artifact(
        key="model",
        markdown=(
            f"checkpoint `{paths.checkpoints / 'final'}`, MLflow run `{provenance.get('run_id')}` in "
            f"`{mask_credentials(environment.mlflow_tracking_uri)}`, data `{provenance.get('data_digest')}`, "
            f"page with pictures `{paths.metrics / 'evaluation.html'}`"
        ),
    )


def show_batch(place: str, results: Path) -> None:
    """Show the rows of a batch with their status and error.

    Args:
        place: path or URL of the table.
        results: a copy of it on this machine.
    """
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    create_table_artifact(key="batch", table=rows, description=f"rows of {place}")
