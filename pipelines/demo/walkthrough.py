"""`make demo`: the whole loop on a sample clip, from a video link to an animation made by the served model.

Nothing here is special to the demo but the choice of clip: every step is a command or function that stands
alone.
"""

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from pipelines.child_programs import run_on_terminal
from pipelines.commands.service_address import require_address, url_of
from pipelines.demo.report import evaluation_table, write_demo_report
from pipelines.demo.samples import serve_folder
from pipelines.environment import Environment, read_environment, variable_name
from pipelines.local import fetch, services
from pipelines.local.ports import check_ports_free
from pipelines.local.reports import aligned
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter
from preprocessing.sources.source_list import read_sources

CLIP = "WolfgangLanger_Pexels.mp4"
_LOOPBACK = ("127.0.0.1", "localhost")


class DemoError(Exception):
    """One of the demo's steps failed."""


def run_demo(params: Params, environment: Environment, keep: bool, say: Callable[[str], None]) -> None:
    """Run every step; finished work is skipped.

    Args:
        params: all settings.
        environment: this machine.
        keep: leave the services running afterwards.
        say: prints one piece of text for the operator.

    Raises:
        ValueError: a port is taken, or data/sources.csv names another port than the samples have.
        ProgramError: `dvc` or `lia` failed.
        DemoError: another step failed.
    """
    started_s = time.monotonic()
    paths, host = environment.paths, environment.host
    check_samples_port(paths.root, params.download.sources, environment.samples_port)
    require_address(environment, host, environment.serve_port)
    with _step("fetch", say):
        fetch.fetch_samples(paths.samples)
        fetch.fetch_models(paths.models)
    with _step("services", say):
        running = services.start(environment)
    environment = read_environment(paths.root)
    environment.activate()
    try:
        _make_model(paths, host, environment.samples_port, say)
        released = released_model(params.release.name, paths.checkpoints / "final")
        with _step("serve", say):
            from pipelines.commands.serve import run_serve

            run_serve(params, environment, host, environment.serve_port, released.uri, block=False)
        _animate_and_report(environment, released, say)
    finally:
        if not keep:
            from pipelines.commands.serve import end_service

            end_service(environment)
            services.stop_all(paths.services)
    folder = paths.demo
    say(f"\n{folder / 'animation.mp4'}\n{folder / 'report.html'}")
    if keep:
        animations = ("Animations", f"http://{host}:{environment.serve_port}/openapi.json")
        say("\n".join(aligned([*services.service_rows(running), animations])))
        say("make stop ends all of it")
    say(f"whole demo: {time.monotonic() - started_s:.0f} s")


def _make_model(paths: ProjectPaths, host: str, samples_port: int, say: Callable[[str], None]) -> None:
    """Run the stages on the sample clips, which are served meanwhile, and release the model."""
    check_ports_free("sample clips", {"samples_port": samples_port})
    with _step("dvc repro", say), serve_folder(paths.samples, host, samples_port):
        run_on_terminal(["dvc", "repro"], paths.root)
    with _step("dvc push", say):
        run_on_terminal(["dvc", "push"], paths.root)
    with _step("release", say):
        run_on_terminal(["lia", "release"], paths.root)


@dataclass(frozen=True)
class ReleasedModel:
    """The version that the demo serves: its own, champion or not."""

    uri: str
    """An alias of the version, or the version."""
    verdict: str
    """What the release gate said of it."""


def released_model(name: str, checkpoint: Path) -> ReleasedModel:
    """Return the registered version of a checkpoint.

    The demo serves it whatever the gate says: minutes of training rarely beat copying the source.
    """
    from lia_model.checkpoints.directory import read_config
    from lia_model.registry import aliases, models, runs

    run_id = runs.run_of(read_config(checkpoint).provenance)
    version = models.version_of_run(name, run_id) if run_id else None
    if version is None:
        raise DemoError(f"the release registered no version of {name}: see its output above")
    named = [alias for alias in aliases.ALIASES if aliases.version_of(name, alias) == version]
    uri = f"models:/{name}@{named[0]}" if named else f"models:/{name}/{version}"
    tags = (models.version_tag(name, version, key) for key in ("lia.gate_reason", "lia.gate_details"))
    verdict = "\n".join(tag for tag in tags if tag)
    return ReleasedModel(uri, f"{name} version {version}, served as {uri}: {verdict}")


def _animate_and_report(
    environment: Environment, released: ReleasedModel, say: Callable[[str], None]
) -> None:
    paths = environment.paths
    folder = paths.demo
    folder.mkdir(parents=True, exist_ok=True)
    with _step("batch", say):
        source, driving = cut_demo_clip(paths.samples / CLIP, folder)
        _animate_by_batch(environment, folder, source, driving)
    with _step("report", say):
        write_demo_report(paths.metrics, paths.shards / "report.html", folder, released.verdict)
    evaluation = json.loads((paths.metrics / "evaluate.json").read_text())
    say(f"\n{evaluation_table(evaluation)}\n{released.verdict}")


def cut_demo_clip(clip: Path, folder: Path) -> tuple[Path, Path]:
    """Write a clip's first frame as source.png and its last quarter as driving.mp4, at its own rate."""
    source, driving = folder / "source.png", folder / "driving.mp4"
    info = probe(clip)
    first_driving = info.num_frames * 3 // 4
    with VideoWriter(driving, Fraction(info.fps), (info.width_px, info.height_px)) as video:
        for number, frame in enumerate(decode(clip)):
            if number == 0:
                Image.fromarray(frame.image).save(source)
            if number >= first_driving:
                video.write(frame.image)
    return source, driving


def _animate_by_batch(environment: Environment, folder: Path, source: Path, driving: Path) -> None:
    """Send one row to the service and put the result at animation.mp4."""
    results = folder / "batch"
    # Absolute motion, as in the evaluation: source and driving show one person, so her own pose is the aim.
    # A batch skips rows that are done; the demo wants the present champion's work.
    shutil.rmtree(results, ignore_errors=True)
    manifest = folder / "batch.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("source", "driving", "mode"), (source, driving, "absolute")])
    # Named, so that the batch is not animated without the service if that is away.
    endpoint = url_of(environment.host, environment.serve_port)
    command = ["lia", "batch", str(manifest), "--output", str(results), "--endpoint", endpoint]
    run_on_terminal(command, environment.paths.root)
    videos = sorted(results.glob("*.mp4"))
    if len(videos) != 1:
        raise DemoError(
            f"the batch left {len(videos)} videos in {results}, not one: see {results / 'results.csv'}"
        )
    shutil.copyfile(videos[0], folder / "animation.mp4")
    made, wanted = probe(folder / "animation.mp4"), probe(driving)
    if (made.num_frames, made.fps) != (wanted.num_frames, wanted.fps):
        raise DemoError(
            f"the animation has {made.num_frames} frames at {made.fps} fps, "
            f"the driving clip {wanted.num_frames} at {wanted.fps}"
        )


def check_samples_port(root: Path, source_list: Path, port: int) -> None:
    """Check that the sources on loopback are at the port where the samples will be.

    Args:
        root: the project's root.
        source_list: the list of sources, relative to `root`.
        port: where the samples will be served.

    Raises:
        ValueError: one is at another port.
    """
    for source in read_sources(root / source_list):
        url = urlsplit(source.url)
        if url.hostname in _LOOPBACK and url.port != port:
            raise ValueError(
                f"{source_list} names {source.url}, but the samples are on port {port}: change the list, or "
                f"set {variable_name('samples_port')}"
            )


@contextmanager
def _step(name: str, say: Callable[[str], None]) -> Iterator[None]:
    started_s = time.monotonic()
    say(f"\n== {name}")
    yield
    say(f"== {name}: {time.monotonic() - started_s:.1f} s")
