"""Commands that convert checkpoints from and to other formats."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.arguments import Model
from pipelines.command_line.startup import activate_environment
from preprocessing.settings import CropRule


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="Published LIA checkpoint (.pt), of any size.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint directory to write.")],
    register: Annotated[str | None, typer.Option(help="Also register it under this name.")] = None,
    crop_rule: Annotated[
        CropRule | None,
        typer.Option(help="How its training clips were cropped; body for Taichi and TED. Default: to faces."),
    ] = None,
) -> None:
    """Turn a published LIA checkpoint into a checkpoint directory; every entry is used or named."""
    environment = activate_environment()
    from pipelines.commands.checkpoints import run_import

    typer.echo(run_import(file, output, register, environment.paths.artifacts, crop_rule))


def export_checkpoint(
    directory: Annotated[Path, typer.Argument(help="Checkpoint directory.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .pt file to write.")],
) -> None:
    """Write a checkpoint directory under the published names and shapes."""
    activate_environment()
    from pipelines.commands.checkpoints import run_export

    typer.echo(run_export(directory, output))


def export_onnx(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for encoder.onnx and painter.onnx.")],
    model: Model = None,
) -> None:
    """Write a model as ONNX graphs for other runtimes, checked against the module."""
    environment = activate_environment()
    from lia_model.registry.aliases import champion_uri
    from pipelines.commands.checkpoints import run_export_onnx
    from pipelines.params import read_params

    release = read_params(environment.paths.root / "params.yaml").release
    typer.echo(run_export_onnx(model or champion_uri(release.name), output))
