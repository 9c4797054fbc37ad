"""Commands about this machine: checks, recipes, downloads, services and the demo."""

import shlex
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.arguments import AsJson, Yes
from pipelines.command_line.startup import activate_environment, enter_project
from pipelines.environment import read_environment
from pipelines.local.reports import print_report
from pipelines.local.service_definitions import ServiceName


class Fetchable(StrEnum):
    """What `lia fetch` downloads."""

    SAMPLES = "samples"
    MODELS = "models"
    SHARDS = "shards"


def doctor(as_json: AsJson = False) -> None:
    """Check this machine and say what is missing; exit 1 if something required is."""
    environment = activate_environment()
    from pipelines.local import doctor as module

    findings = module.examine(environment)
    print_report(module.finding_rows(findings), [asdict(one) for one in findings], as_json)
    if module.is_required_missing(findings):
        raise typer.Exit(1)


def preset(
    name: Annotated[
        str,
        typer.Argument(help="demo: minutes on a CPU; vox256, taichi256, ted384: as published; vox256-bf16."),
    ],
    yes: Yes = False,
) -> None:
    """Write a named recipe to params.yaml; asks before overwriting values you changed."""
    environment = activate_environment()
    from pipelines import presets

    path = environment.paths.root / "params.yaml"
    if not yes and presets.has_own_values(path):
        typer.confirm(f"{path} holds values that you changed; overwrite them?", abort=True)
    presets.write_preset(name, path)
    typer.echo(f"{path} now holds the recipe {name}")


def clean(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove what is listed.")] = False,
    store: Annotated[
        bool,
        typer.Option(
            "--store",
            help="Also what the object store (LIA_STORE_URL) has of videos, parts and tars that this project "
            "does not list, and got at least 30 days ago. Only for a store folder that this project alone "
            "uses, with one list: nothing in a store says whose a file is. Old versions in a bucket stay.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List checkpoints of earlier runs and other leftovers; with --yes, remove them."""
    params, environment = enter_project()
    from pipelines.commands import clean as module
    from pipelines.training_run import present_run

    paths = environment.paths
    environment.check_train_storage()
    found = module.survey(paths, present_run(params, paths), environment.train_storage_url)
    if store:
        found += module.survey_store(environment.store_url, paths, paths.root / params.download.sources)
    rows = [one.row(paths.root) for one in found]
    document = [{"path": str(one.place), "bytes": one.size_bytes, "reason": one.reason} for one in found]
    print_report(rows, document, as_json)
    total = f"{sum(one.size_bytes for one in found) / 1e6:.1f} MB in {len(found)} folders"
    if yes:
        module.remove(found, paths)
    typer.echo(f"{total} removed" if yes else f"{total} may be removed with `lia clean --yes`", err=True)


def fetch(what: Annotated[list[Fetchable], typer.Argument(help="What to fetch.")]) -> None:
    """Download sample clips to data/samples, networks to models/, or shards of the store to out/shards."""
    environment = activate_environment()
    from pipelines.local import fetch as module

    if Fetchable.SAMPLES in what:
        module.fetch_samples(environment.paths.samples)
    if Fetchable.MODELS in what:
        module.fetch_models(environment.paths.models)
    if Fetchable.SHARDS in what:
        from pipelines.local.shards_copy import copy_shards

        copy_shards(environment.paths.shards, environment.store(), environment.paths.shards_copy)


def env() -> None:
    """Print shell exports that point dvc, mlflow, prefect and ray at this project: eval "$(lia env)"."""
    environment = read_environment(Path.cwd())
    for name, value in environment.tool_variables().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def up(
    names: Annotated[list[ServiceName] | None, typer.Argument(help="Services; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start this project's Prefect server, MLflow UI and Ray head and print their URLs."""
    environment = activate_environment()
    from pipelines.local import services

    running = services.start(environment, names or tuple(ServiceName))
    document = {one.name: {"url": one.url, "address": one.address} for one in running}
    print_report(services.service_rows(running), document, as_json)


def stop() -> None:
    """Stop the services that `lia up` or the demo started, by process id; the animation service before."""
    environment = activate_environment()
    from pipelines.commands.serve import end_service
    from pipelines.local import services

    end_service(environment)
    for name in services.stop_all(environment.paths.services):
        typer.echo(f"stopped {name}")


def demo(
    keep: Annotated[bool, typer.Option(help="Leave the services running afterwards.")] = True,
) -> None:
    """Run the whole pipeline on a sample clip: out/demo/animation.mp4 and out/demo/report.html."""
    params, environment = enter_project()
    from pipelines.demo.walkthrough import run_demo

    run_demo(params, environment, keep=keep, say=typer.echo)
