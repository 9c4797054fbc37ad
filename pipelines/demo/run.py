"""`make demo`: the whole loop on a sample clip, from a video link to an animation made by the served model.

Nothing here is special to the demo but the choice of clip: every step is a command or function that stands
alone.
"""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from pipelines.demo.report import evaluation_table, write_demo_report
from pipelines.demo.samples import serve_folder
from pipelines.environment import Environment, read_environment, variable_name
from pipelines.local import fetch, services
from pipelines.local.ports import check_ports_free
from pipelines.local.reports import aligned
from pipelines.params import Params
from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter
from preprocessing.sources.source_list import read_sources

logger = logging.getLogger(__name__)

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
        DemoError: a step failed.
    """
    started_s = time.monotonic()
    _check_samples_port(params, environment)
    with _step("fetch", say):
        fetch.fetch_samples(environment.samples)
        fetch.fetch_models(environment.models)
    with _step("services", say):
        running = services.start(environment)
    environment = read_environment(environment.root)
    environment.activate()
    try:
        _run_loop(params, environment, say)
    finally:
        if not keep:
            services.stop_all(environment)
    say(f"\n{environment.root / 'out/demo/animation.mp4'}\n{environment.root / 'out/demo/report.html'}")
    if keep:
        animations = ("Animations", f"http://{environment.host}:{environment.serve_port}/openapi.json")
        say("\n".join(aligned([*services.rows(running), animations])))
        say("make stop ends all of it")
    say(f"whole demo: {time.monotonic() - started_s:.0f} s")


def _run_loop(params: Params, environment: Environment, say: Callable[[str], None]) -> None:
    folder = environment.root / "out" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    check_ports_free("sample clips", {"samples_port": environment.samples_port})
    with (
        _step("dvc repro", say),
        serve_folder(environment.samples, environment.host, environment.samples_port),
    ):
        _command(environment, "dvc", "repro")
    with _step("dvc push", say):
        _command(environment, "dvc", "push")
    with _step("release", say):
        _command(environment, "lia", "release")
    with _step("serve", say):
        from lia_model.registry.aliases import champion_uri
        from pipelines.commands.serve import run_serve

        model = champion_uri(params.release.name)
        run_serve(params, environment, environment.host, environment.serve_port, model, block=False)
    with _step("batch", say):
        source, driving = cut_demo_clip(environment.samples / CLIP, folder)
        _animate_by_batch(environment, folder, source, driving)
    with _step("report", say):
        write_demo_report(environment.metrics, environment.shards / "report.html", folder)
    evaluation = json.loads((environment.metrics / "evaluate.json").read_text())
    say("\n" + evaluation_table(evaluation))


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
    _command(environment, "lia", "batch", str(manifest), "--output", str(results))
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


def _check_samples_port(params: Params, environment: Environment) -> None:
    for source in read_sources(environment.root / params.download.sources):
        url = urlsplit(source.url)
        if url.hostname in _LOOPBACK and url.port != environment.samples_port:
            raise ValueError(
                f"{params.download.sources} names {source.url}, but the samples are on port "
                f"{environment.samples_port}: change the list, or set {variable_name('samples_port')}"
            )


def _command(environment: Environment, *command: str) -> None:
    """Run a program of this environment in the project's root, its output on this terminal."""
    scripts = str(Path(sys.executable).parent)
    path = f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(command, cwd=environment.root, env={**os.environ, "PATH": path})
    if done.returncode != 0:
        raise DemoError(
            f"`{' '.join(command)}` failed with exit code {done.returncode}: its message stands above"
        )


@contextmanager
def _step(name: str, say: Callable[[str], None]) -> Iterator[None]:
    started_s = time.monotonic()
    say(f"\n== {name}")
    yield
    say(f"== {name}: {time.monotonic() - started_s:.1f} s")
