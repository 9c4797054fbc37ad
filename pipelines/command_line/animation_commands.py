"""Commands that animate: here, as a service, or in a batch."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.command_line.arguments import DEFAULT_MODEL, Arithmetic, Convert, Crop, Device, Model
from pipelines.command_line.startup import activate_environment, enter_project


def animate(
    source: Annotated[Path, typer.Argument(help="Portrait: an image, or a video to move frame by frame.")],
    driving: Annotated[Path, typer.Argument(help="Whose motion: a video, an image or a motion file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The mp4 to write.")],
    model: Model = DEFAULT_MODEL,
    mode: Annotated[
        Literal["relative", "absolute"], typer.Option(help="relative keeps the source's own pose.")
    ] = "relative",
    start: Annotated[
        Literal["first", "best"],
        typer.Option(help="Where relative motion starts: the first frame, or the one most like the source."),
    ] = "first",
    face: Annotated[
        str, typer.Option(help="Of the source: largest, N (from 1, left to right), or all with --paste-back.")
    ] = "largest",
    paste_back: Annotated[
        bool, typer.Option("--paste-back", help="Put the result back into the whole source picture.")
    ] = False,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Show source, driving and result next to each other.")
    ] = False,
    crop: Crop = True,
    convert: Convert = False,
    precision: Arithmetic = "auto",
    compilation: Annotated[
        Literal["none", "inductor", "cuda-graphs"],
        typer.Option(help="Compile the networks first: minutes, then faster frames; cuda-graphs needs CUDA."),
    ] = "none",
    hardware_video: Annotated[
        bool, typer.Option("--hardware-video", help="Decode and encode video on an NVIDIA GPU.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Animate SOURCE by the motion of DRIVING; frame rate and audio are the driving video's."""
    environment = activate_environment()
    from lia_model.animation.file import AnimationRequest
    from pipelines.commands.animate import InferenceOptions, parse_face, run_animate
    from pipelines.params import read_params

    params = read_params(environment.root / "params.yaml")
    request = AnimationRequest(
        source=source,
        driving=driving,
        output=output,
        mode=mode,
        batch_size=params.serve.batch_size,
        start=start,
        face=parse_face(face),
        paste_back=paste_back,
        side_by_side=side_by_side,
        convert=convert,
        hardware=hardware_video,
    )
    options = InferenceOptions(model, device, precision, compilation, crop)
    result = run_animate(params, environment, request, options)
    typer.echo(f"{output}: {result.num_frames} frames at {float(result.fps):.3f} fps")


def motion_extract(
    driving: Annotated[Path, typer.Argument(help="Whose motion: a video or an image.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The motion file to write (.safetensors).")],
    model: Model = DEFAULT_MODEL,
    crop: Crop = True,
    convert: Convert = False,
    precision: Arithmetic = "auto",
    device: Device = "auto",
) -> None:
    """Write DRIVING's motion to a file that drives this model in the clip's place, without its sound."""
    environment = activate_environment()
    from pipelines.commands.animate import InferenceOptions, run_extract
    from pipelines.params import read_params

    params = read_params(environment.root / "params.yaml")
    options = InferenceOptions(model, device, precision, "none", crop)
    template = run_extract(params, environment, driving, output, options, convert)
    typer.echo(f"{output}: {len(template.weights)} frames at {float(template.fps):.3f} fps")


def manipulate(
    source: Annotated[Path, typer.Argument(help="Portrait: an image, or a video (its first frame).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures and videos.")],
    reach: Annotated[float, typer.Option("--range", help="Greatest step along a direction, both ways.")] = 3,
    frames: Annotated[int, typer.Option(help="Steps from one side to the other.")] = 16,
    model: Model = DEFAULT_MODEL,
    crop: Crop = True,
    convert: Convert = False,
    precision: Arithmetic = "auto",
    device: Device = "auto",
) -> None:
    """Show what each motion direction does to SOURCE: a strip and a video of each, and a contact sheet."""
    environment = activate_environment()
    from lia_model.animation.manipulation import CONTACT_SHEET, ManipulationRequest
    from pipelines.commands.animate import InferenceOptions, run_manipulate
    from pipelines.params import read_params

    params = read_params(environment.root / "params.yaml")
    request = ManipulationRequest(source, output, reach, frames, params.serve.batch_size, convert)
    options = InferenceOptions(model, device, precision, "none", crop)
    count = run_manipulate(params, environment, request, options)
    typer.echo(f"{output / CONTACT_SHEET}: {count} directions, a strip and a video of each beside it")


def serve(
    host: Annotated[
        str, typer.Option(help="Address; beyond loopback LIA_API_TOKEN must be set.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; by default LIA_SERVE_PORT or 8000.")] = None,
    model: Annotated[str, typer.Option(help="What to serve.")] = "models:/lia@champion",
) -> None:
    """Run the animation service in the foreground."""
    params, environment = enter_project()
    from pipelines.commands.serve import run_serve

    run_serve(params, environment, host=host, port=port or environment.serve_port, model=model, block=True)


def batch(
    manifest: Annotated[
        Path, typer.Argument(help="CSV with the columns source, driving and, optionally, mode.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the videos and results.csv.")],
    endpoint: Annotated[str | None, typer.Option(help="URL of a running service; default: our own.")] = None,
) -> None:
    """Animate every row of MANIFEST; run it again to finish what is missing."""
    environment = activate_environment()
    from pipelines.commands.batch import run_batch

    endpoint = endpoint or f"http://{environment.host}:{environment.serve_port}"
    raise typer.Exit(run_batch(manifest, output, endpoint, token=environment.api_token) or 0)
