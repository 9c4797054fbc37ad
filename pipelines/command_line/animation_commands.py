"""Commands that animate: here, as a service, or in a batch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lia_model.settings import Compilation, VideoDecoder, VideoEncoder
from pipelines.command_line.arguments import Arithmetic, Convert, Crop, Device, Model
from pipelines.command_line.option_parameters import takes_animation_options
from pipelines.command_line.startup import activate_environment, enter_project


@takes_animation_options
def animate(
    source: Annotated[Path, typer.Argument(help="Portrait: an image, or a video to move frame by frame.")],
    driving: Annotated[Path, typer.Argument(help="Whose motion: a video, an image or a motion file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The mp4 to write.")],
    model: Model = None,
    convert: Convert = False,
    precision: Arithmetic = "auto",
    compilation: Annotated[
        Compilation,
        typer.Option(
            help="Faster frames: inductor compiles for minutes first, cuda-graphs records for seconds (CUDA)."
        ),
    ] = "none",
    video_decoder: Annotated[
        VideoDecoder,
        typer.Option(help="gpu: NVIDIA where it knows the codec, else the CPU and a warning."),
    ] = "cpu",
    video_encoder: Annotated[
        VideoEncoder, typer.Option(help="gpu: NVIDIA or an error; auto: NVIDIA, or the CPU and a warning.")
    ] = "cpu",
    device: Device = "auto",
    **fields: Any,  # noqa: ANN401 - one of each option's type
) -> None:
    """Animate SOURCE by the motion of DRIVING, whose frame times and audio the result keeps."""
    environment = activate_environment()
    from lia_model.animation.file import AnimationRequest
    from lia_model.animation.options import read_options
    from pipelines.commands.animate import Inference, run_animate
    from pipelines.params import read_params

    params = read_params(environment.paths.root / "params.yaml")
    request = AnimationRequest(source, driving, output, read_options(fields), convert)
    inference = Inference(model, device, precision, compilation, video_decoder, video_encoder)
    result = run_animate(params, environment.paths.root, request, inference)
    typer.echo(f"{output}: {result.num_frames} frames at {float(result.fps):.3f} fps")


def motion_extract(
    driving: Annotated[Path, typer.Argument(help="Whose motion: a video or an image.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The motion file to write (.safetensors).")],
    model: Model = None,
    crop: Crop = True,
    convert: Convert = False,
    precision: Arithmetic = "auto",
    device: Device = "auto",
) -> None:
    """Write DRIVING's motion to a file that drives this model in the clip's place, without its sound."""
    environment = activate_environment()
    from pipelines.commands.animate import Inference, run_extract
    from pipelines.params import read_params

    params = read_params(environment.paths.root / "params.yaml")
    inference = Inference(model, device, precision)
    found = run_extract(
        params, environment.paths.root, driving, output, inference, crop=crop, convert=convert
    )
    typer.echo(f"{output}: {len(found.weights)} frames at {float(found.fps):.3f} fps")


def manipulate(
    source: Annotated[Path, typer.Argument(help="Portrait: an image, or a video (its first frame).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures and videos.")],
    reach: Annotated[float, typer.Option("--range", help="Greatest step along a direction, both ways.")] = 3,
    frames: Annotated[int, typer.Option(help="Steps from one side to the other.")] = 16,
    model: Model = None,
    crop: Crop = True,
    convert: Convert = False,
    precision: Arithmetic = "auto",
    device: Device = "auto",
) -> None:
    """Show what each motion direction does to SOURCE: a strip and a video of each, and a contact sheet."""
    environment = activate_environment()
    from lia_model.animation.manipulation import CONTACT_SHEET, ManipulationRequest
    from pipelines.commands.animate import Inference, run_manipulate
    from pipelines.params import read_params

    params = read_params(environment.paths.root / "params.yaml")
    request = ManipulationRequest(source, output, reach, frames, params.serve.batch_size, convert)
    inference = Inference(model, device, precision)
    count = run_manipulate(params, environment.paths.root, request, inference, crop=crop)
    typer.echo(f"{output / CONTACT_SHEET}: {count} directions, a strip and a video of each beside it")


def serve(
    host: Annotated[
        str, typer.Option(help="Address; beyond loopback a token is required, see `lia token`.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; by default LIA_SERVE_PORT or 8000.")] = None,
    model: Model = None,
) -> None:
    """Run the animation service in the foreground."""
    params, environment = enter_project()
    from lia_model.registry.aliases import champion_uri
    from pipelines.commands.serve import run_serve

    model = model or champion_uri(params.release.name)
    run_serve(params, environment, host=host, port=port or environment.serve_port, model=model, block=True)


def batch(
    manifest: Annotated[
        str,
        typer.Argument(
            help="CSV file: source, driving and, optionally, mode, start, face and so on; a path or an s3:// "
            "URL, as its files may be too."
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder or s3:// URL for the videos and results.csv.")
    ],
    endpoint: Annotated[
        str | None,
        typer.Option(help="URL of a service; default: our own if it runs, else Ray without a service."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Checkpoint or models:/ URI that animates, without a service; default: the champion."
        ),
    ] = None,
) -> None:
    """Animate every row of MANIFEST; run it again to finish what is missing."""
    environment = activate_environment()
    from pipelines.commands.batch.command import run_batch
    from pipelines.params import read_params

    params = read_params(environment.paths.root / "params.yaml")
    raise typer.Exit(run_batch(manifest, output, params, environment, endpoint, model) or 0)
