"""Commands that ask the registry: the versions of a model, and where models and videos come from and go."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.arguments import AsJson, ReleaseName
from pipelines.command_line.startup import enter_project
from pipelines.local.reports import print_report


def models(name: ReleaseName = None, as_json: AsJson = False) -> None:
    """List the registered versions: aliases, the gate's verdict and reason, and where each is served."""
    params, environment = enter_project()
    from pipelines.commands import models as module

    rows, document = module.model_rows(name or params.release.name, environment)
    print_report(rows, document, as_json)


def lineage(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL_URI]", help="models:/NAME@ALIAS, models:/NAME/VERSION or a checkpoint directory."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="URL|SOURCE_ID|IDENTITY", help="Instead: where a video or a person went."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model was made of; with --source, the shards, runs and versions that a video went into."""
    if (model is None) == (source is None):
        raise ValueError("got a model and --source, or neither; give one: a model's URI, or --source")
    if model is not None and not model.startswith("models:/"):
        # The path is relative to the caller's directory, and `enter_project` changes directory.
        model = str(Path(model).absolute())
    params, environment = enter_project()
    from pipelines.commands import lineage as module

    paths = environment.paths
    listed = paths.root / params.download.sources
    found = (
        module.model_lineage(model, listed, paths)
        if model is not None
        else module.source_lineage(str(source), listed, paths)
    )
    print_report(found.rows, found.document, as_json)
