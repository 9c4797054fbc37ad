"""Option types that several commands share."""

from typing import Annotated

import typer

from lia_model.settings import Precision

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Checkpoint directory or models:/NAME@ALIAS or models:/NAME/VERSION; default: the champion."
    ),
]
ReleaseName = Annotated[str | None, typer.Option("--name", help="Registered name; default: release.name.")]
Crop = Annotated[bool, typer.Option(help="Crop as in training: to the face or to the middle.")]
Convert = Annotated[
    bool, typer.Option("--convert", help="Convert images with alpha, 16 bits or CMYK colours.")
]
Arithmetic = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Arithmetic of the networks; auto: bf16 where native, else fp32; tf32: NVIDIA GPUs.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N; auto: a GPU where present.")]
