"""The stages that dvc.yaml calls, and the release that follows them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.arguments import AsJson, ReleaseName
from pipelines.command_line.startup import enter_project


def download() -> None:
    """Download every source of data/sources.csv to data/raw; exit 1 while a rerun may get more."""
    params, environment = enter_project()
    from pipelines.stages.correlation import correlated
    from pipelines.stages.download import run_download
    from pipelines.stages.lineage_events import lineage_events

    with correlated(environment), lineage_events("download", params, environment) as outcome:
        outcome.exit_code = run_download(params, environment)
    raise typer.Exit(outcome.exit_code)


def shards() -> None:
    """Detect, track and crop faces in data/raw and write data/shards."""
    params, environment = enter_project()
    from pipelines.stages.correlation import correlated
    from pipelines.stages.lineage_events import lineage_events
    from pipelines.stages.shards import run_shards

    with correlated(environment), lineage_events("shards", params, environment) as outcome:
        outcome.exit_code = run_shards(params, environment)
    raise typer.Exit(outcome.exit_code)


def train(
    profile: Annotated[
        bool, typer.Option("--profile", help="Write a trace of some steps into the run's folder.")
    ] = False,
) -> None:
    """Train on data/shards, resuming an interrupted run; writes checkpoints/final."""
    params, environment = enter_project()
    from pipelines.stages.correlation import correlated
    from pipelines.stages.lineage_events import lineage_events
    from pipelines.stages.train import run_train

    with correlated(environment), lineage_events("train", params, environment) as outcome:
        outcome.exit_code = run_train(params, environment, with_profile=profile)
    raise typer.Exit(outcome.exit_code)


def sweep(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The settings to vary, and the metric.")],
) -> None:
    """Train with many settings, the worse ones stopped early, and name the command to release the best."""
    # The path is relative to the caller's directory, and `enter_project` changes directory.
    spec = spec.absolute()
    params, environment = enter_project()
    from pipelines.commands.sweep import run_sweep

    for line in run_sweep(spec, params, environment):
        typer.echo(line)


def evaluate(
    pair_list: Annotated[
        Path | None, typer.Option("--list", help="An evaluation_list.json to reuse; default: choose pairs.")
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Model to compare with: checkpoint directory or models:/ URI; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate checkpoints/final on held-out clips; writes numbers, clips and a page to metrics/."""
    # Paths are relative to the caller's directory, and `enter_project` changes directory.
    pair_list = pair_list and pair_list.absolute()
    baselines = {
        name: name if name.startswith("models:/") else str(Path(name).absolute()) for name in baseline or []
    }
    params, environment = enter_project()
    from pipelines.stages.correlation import correlated
    from pipelines.stages.evaluate import run_evaluate, summary_lines
    from pipelines.stages.lineage_events import lineage_events

    with correlated(environment), lineage_events("evaluate", params, environment):
        report = run_evaluate(params, environment.paths, pair_list, baselines, environment.store())
    typer.echo(json.dumps(report, indent=1) if as_json else summary_lines(report, environment.paths.metrics))


def release(
    run: Annotated[
        str | None, typer.Option(help="MLflow run id; default: that of checkpoints/final.")
    ] = None,
    name: ReleaseName = None,
    as_json: AsJson = False,
) -> None:
    """Register the model as challenger; promote it to champion if it is better, or say why not."""
    params, environment = enter_project()
    from pipelines.stages.correlation import correlated
    from pipelines.stages.lineage_events import lineage_events
    from pipelines.stages.release import run_release

    with correlated(environment), lineage_events("release", params, environment, run) as outcome:
        done = run_release(params, environment.paths, run_id=run, name=name, store=environment.store())
        outcome.model_uri = f"models:/{done.name}/{done.version}"
    typer.echo(json.dumps(asdict(done), indent=1) if as_json else done.text)


def rollback(
    name: ReleaseName = None,
    reason: Annotated[
        str, typer.Option(help="Why; recorded with the version that was champion.")
    ] = "no reason given",
) -> None:
    """Move the alias champion back to the version before."""
    params, environment = enter_project()
    from pipelines.stages.release import run_rollback

    raise typer.Exit(run_rollback(name or params.release.name, environment.paths.tombstones, reason))
