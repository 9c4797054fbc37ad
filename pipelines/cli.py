"""The command line `lia`: every command imports its module inside itself, so that `lia --help` is quick.

Exit codes: 0 success, 2 wrong use or bad input (a ValueError, told in one line), 1 failure. An exception
class of our own carries a message for the operator and is told in one line too; anything else is a bug and
keeps its traceback.
"""

import json
import logging
import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.environment import Environment, read_environment
from preprocessing.sources.importers import importer_names

if TYPE_CHECKING:
    from pipelines.params import Params

app = typer.Typer(
    help="From video links to a trained, registered and served LIA model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

motion = typer.Typer(help="Motion files: a driving clip's motion without the clip.", no_args_is_help=True)
app.add_typer(motion, name="motion")
sources = typer.Typer(help="The list of sources, data/sources.csv.", no_args_is_help=True)
app.add_typer(sources, name="sources")

_OUR_PACKAGES = ("preprocessing", "lia_model", "pipelines")


class Fetchable(StrEnum):
    """What `lia fetch` can bring."""

    SAMPLES = "samples"
    MODELS = "models"


# One choice for each file of `preprocessing/sources/importers`.
ImportFormat = StrEnum("ImportFormat", importer_names())


class Service(StrEnum):
    """What `lia up` can start."""

    PREFECT = "prefect"
    MLFLOW = "mlflow"
    RAY = "ray"


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Model = Annotated[str, typer.Option(help="Checkpoint directory, models:/NAME@ALIAS or models:/NAME/VERSION.")]
DEFAULT_MODEL = "models:/lia@champion"
Crop = Annotated[bool, typer.Option(help="Crop to the face first.")]
Convert = Annotated[
    bool, typer.Option("--convert", help="Convert images with alpha, 16 bits, CMYK or EXIF rotation.")
]
Arithmetic = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option("--precision", help="Arithmetic of the networks; auto is bf16 where native, else fp32."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N; auto takes a GPU if there is one.")]


def main() -> None:
    """Run the command line and turn what went wrong into an exit code."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # The libraries underneath tell every HTTP request at this level; only what we say ourselves is wanted.
    for package in _OUR_PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)
    with_traceback = "--traceback" in sys.argv
    try:
        app()
    except Exception as error:
        is_operator_error = isinstance(error, ValueError)
        is_ours = type(error).__module__.split(".")[0] in _OUR_PACKAGES
        if with_traceback or not (is_operator_error or is_ours):
            raise
        typer.echo(f"lia: {' '.join(str(error).split())}", err=True)
        sys.exit(2 if is_operator_error else 1)


@app.callback()
def _options(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")] = False,
) -> None:
    """Take the options that come before the command; `main` reads --traceback itself."""
    del traceback


def _environment() -> Environment:
    environment = read_environment(Path.cwd())
    environment.activate()
    return environment


def _stage() -> "tuple[Params, Environment]":
    """Read settings and environment, and stand in the project's root, where relative paths start."""
    environment = _environment()
    from pipelines.params import read_params

    os.chdir(environment.root)
    return read_params(environment.root / "params.yaml"), environment


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has and lacks, and what to do; exit 1 if something required is missing."""
    environment = _environment()
    from pipelines.local import doctor as module

    findings = module.examine(environment)
    typer.echo(module.as_json(findings) if as_json else module.as_lines(findings))
    if module.is_required_missing(findings):
        raise typer.Exit(1)


@app.command()
def preset(
    name: Annotated[
        str, typer.Argument(help="demo: minutes on a CPU; vox256, taichi256, ted384: published.")
    ],
    yes: Yes = False,
) -> None:
    """Write a named recipe to params.yaml; asks before it overwrites values you changed."""
    environment = _environment()
    from pipelines import presets

    path = environment.root / "params.yaml"
    if not yes and presets.has_own_values(path):
        typer.confirm(f"{path} holds values of your own; overwrite them?", abort=True)
    presets.write_preset(name, path)
    typer.echo(f"{path} now holds the recipe {name}")


@app.command()
def fetch(what: Annotated[list[Fetchable], typer.Argument(help="What to fetch.")]) -> None:
    """Bring sample clips to data/samples or detector and feature networks to models/, checked by sha256."""
    environment = _environment()
    from pipelines.local import fetch as module

    if Fetchable.SAMPLES in what:
        module.fetch_samples(environment.samples)
    if Fetchable.MODELS in what:
        module.fetch_models(environment.models)


@app.command()
def download() -> None:
    """Download every source of data/sources.csv to data/raw; exit 1 while any can still be retried."""
    params, environment = _stage()
    from pipelines.stages.download import run_download

    raise typer.Exit(run_download(params, environment) or 0)


@app.command()
def shards() -> None:
    """Detect, track and crop faces in data/raw and write data/shards."""
    params, environment = _stage()
    from pipelines.stages.shards import run_shards

    raise typer.Exit(run_shards(params, environment) or 0)


@app.command()
def train() -> None:
    """Train on data/shards, or resume; the result is checkpoints/final."""
    params, environment = _stage()
    from pipelines.stages.train import run_train

    raise typer.Exit(run_train(params, environment) or 0)


@app.command()
def evaluate(
    pair_list: Annotated[
        Path | None, typer.Option("--list", help="An evaluation_list.json to repeat; default: choose anew.")
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Model measured beside it: checkpoint directory or models:/ URI; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure checkpoints/final on held-out clips: numbers, clips and evaluation.html in metrics/."""
    # Paths are the caller's, from where they stand; the stage then stands in the project's root.
    pair_list = pair_list and pair_list.absolute()
    baselines = {
        name: name if name.startswith("models:/") else str(Path(name).absolute()) for name in baseline or []
    }
    params, environment = _stage()
    from pipelines.stages.evaluate import as_lines, run_evaluate

    report = run_evaluate(params, environment, pair_list, baselines)
    typer.echo(json.dumps(report, indent=1) if as_json else as_lines(report, environment.metrics))


@app.command()
def release(
    run: Annotated[
        str | None, typer.Option(help="MLflow run id; by default that of checkpoints/final.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Registered name; by default release.name.")] = None,
) -> None:
    """Register the model as challenger and promote it to champion when it is better, or say why not."""
    params, environment = _stage()
    from pipelines.stages.release import run_release

    raise typer.Exit(run_release(params, environment, run_id=run, name=name) or 0)


@app.command()
def rollback(
    name: Annotated[str | None, typer.Option(help="Registered name; by default release.name.")] = None,
) -> None:
    """Give the alias champion back to the version that had it before."""
    params, _ = _stage()
    from pipelines.stages.release import run_rollback

    raise typer.Exit(run_rollback(name or params.release.name))


@app.command()
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
    environment = _environment()
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


@motion.command("extract")
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
    environment = _environment()
    from pipelines.commands.animate import InferenceOptions, run_extract
    from pipelines.params import read_params

    params = read_params(environment.root / "params.yaml")
    options = InferenceOptions(model, device, precision, "none", crop)
    template = run_extract(params, environment, driving, output, options, convert)
    typer.echo(f"{output}: {len(template.weights)} frames at {float(template.fps):.3f} fps")


@sources.command("import")
def sources_import(
    file: Annotated[Path, typer.Argument(help="The published list, or the folder of its files.")],
    format_name: Annotated[ImportFormat, typer.Option("--format", help="Format of the published list.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The list to write or replace.")],
    fix_split: Annotated[
        bool, typer.Option("--fix-split", help="Move identities and videos that are in both splits to test.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a published list of sources to ours; report duplicates, clipped boxes and split leaks."""
    from pipelines.commands import sources as module

    report = module.import_list(file, format_name, output, fix_split)
    typer.echo(report.model_dump_json(indent=1) if as_json else module.as_lines(report))


@app.command()
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
    environment = _environment()
    from lia_model.animation.manipulation import CONTACT_SHEET, ManipulationRequest
    from pipelines.commands.animate import InferenceOptions, run_manipulate
    from pipelines.params import read_params

    params = read_params(environment.root / "params.yaml")
    request = ManipulationRequest(source, output, reach, frames, params.serve.batch_size, convert)
    options = InferenceOptions(model, device, precision, "none", crop)
    count = run_manipulate(params, environment, request, options)
    typer.echo(f"{output / CONTACT_SHEET}: {count} directions, a strip and a video of each beside it")


@app.command("import-checkpoint")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="Published LIA checkpoint (.pt), of any size.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint directory to write.")],
    register: Annotated[str | None, typer.Option(help="Also register it under this name.")] = None,
) -> None:
    """Turn a published LIA checkpoint into a checkpoint directory; every entry is used or named."""
    environment = _environment()
    from pipelines.commands.checkpoints import run_import

    typer.echo(run_import(file, output, register, environment))


@app.command("export-checkpoint")
def export_checkpoint(
    directory: Annotated[Path, typer.Argument(help="Checkpoint directory.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .pt file to write.")],
) -> None:
    """Write a checkpoint directory under the published names and shapes."""
    _environment()
    from pipelines.commands.checkpoints import run_export

    typer.echo(run_export(directory, output))


@app.command("export-onnx")
def export_onnx(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for encoder.onnx and painter.onnx.")],
    model: Model = DEFAULT_MODEL,
) -> None:
    """Write a model as ONNX graphs for other runtimes, checked against the module."""
    _environment()
    from pipelines.commands.checkpoints import run_export_onnx

    typer.echo(run_export_onnx(model, output))


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address; beyond loopback LIA_API_TOKEN must be set.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; by default LIA_SERVE_PORT or 8000.")] = None,
    model: Annotated[str, typer.Option(help="What to serve.")] = "models:/lia@champion",
) -> None:
    """Run the animation service in the foreground."""
    params, environment = _stage()
    from pipelines.commands.serve import run_serve

    run_serve(params, environment, host=host, port=port or environment.serve_port, model=model, block=True)


@app.command()
def batch(
    manifest: Annotated[
        Path, typer.Argument(help="CSV with the columns source, driving and, optionally, mode.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the videos and results.csv.")],
    endpoint: Annotated[str | None, typer.Option(help="URL of a running service; default: our own.")] = None,
) -> None:
    """Animate every row of MANIFEST; run it again to finish what is missing."""
    environment = _environment()
    from pipelines.commands.batch import run_batch

    endpoint = endpoint or f"http://{environment.host}:{environment.serve_port}"
    raise typer.Exit(run_batch(manifest, output, endpoint, token=environment.api_token) or 0)


@app.command()
def forget(
    what: Annotated[
        str,
        typer.Argument(metavar="URL|SOURCE_ID|IDENTITY", help="A video, by address or name, or a person."),
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take a video out of everything the project keeps, old versions included, and name models it trained."""
    params, environment = _stage()
    from pipelines.commands import forget as module
    from pipelines.local.data_versions import DataVersions

    versions = DataVersions(environment.root)
    takedown = module.survey(what, params, environment, versions)
    lines = module.as_lines(takedown, environment)
    typer.echo(module.as_json(takedown, environment) if as_json else "\n".join(lines))
    if not yes:
        typer.confirm("remove all of this for good?", abort=True, err=True)
    module.carry_out(takedown, environment, versions)
    module.rebuild(environment)
    done = "done: commit data/tombstones.csv and dvc.lock, and run the same in every other checkout"
    typer.echo(done, err=as_json)


@app.command()
def env() -> None:
    """Print the shell lines that point dvc, mlflow, prefect and ray at this project: eval "$(lia env)"."""
    environment = read_environment(Path.cwd())
    for name, value in environment.tool_variables().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def up(
    names: Annotated[list[Service] | None, typer.Argument(help="Which; by default all three.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start this project's Prefect server, MLflow UI and Ray head, and print where they are."""
    environment = _environment()
    from pipelines.local import services

    running = services.start(environment, names or services.NAMES)
    typer.echo(services.as_json(running) if as_json else services.as_lines(running))


@app.command()
def stop() -> None:
    """Stop what `lia up` and the demo started, by process id."""
    environment = _environment()
    from pipelines.local import services

    for name in services.stop_all(environment):
        typer.echo(f"stopped {name}")


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(help="Leave the services running afterwards.")] = True,
) -> None:
    """Run the whole loop on a sample clip: out/demo/animation.mp4 and out/demo/report.html."""
    params, environment = _stage()
    from pipelines.demo.run import run_demo

    run_demo(params, environment, keep=keep, say=typer.echo)
