"""The animation service over HTTP against the bare animator: frames a second, and how long clients wait."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

from lia_model.animation.options import AnimationOptions
from lia_model.animator import Animator
from lia_model.checkpoints.directory import save_generator
from lia_model.serving.client import Client
from preprocessing.media.images import read_image
from preprocessing.media.video_reader import decode
from preprocessing.media.video_writer import VideoWriter
from preprocessing.shards.manifest import CropFacts
from tests.benchmarks.apart import Apart
from tests.benchmarks.model import calmed_generator
from tests.benchmarks.timing import Row
from tests.ports import free_port
from tests.puppets import draw_identity, draw_motion, render, render_clip

SIZE_PX, FPS = 256, Fraction(25)
NUM_CLIENTS, CLIP_LENGTHS = 8, (8, 16, 24, 48)
"""Each client animates every clip, beginning with another one."""
BATCH_SIZE, NUM_THREADS = 16, 1
"""As the service's settings are by default."""
NUM_STARTS, NUM_PICTURES = 20, 200
STATUS_PAUSE_S = 0.05
START_TIMEOUT_S = 180.0
NUM_DIRECTIONS = 20
ROOT = Path(__file__).parents[2]


def measure(num_rounds: int) -> Iterator[Row]:
    """Time a service of its own on loopback, with a network of the published size and random weights."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        _write_inputs(folder)
        bare = stack.enter_context(_apart(build_animation, folder, CLIP_LENGTHS))
        picture = stack.enter_context(_apart(build_picture, folder))
        url = stack.enter_context(_serving(folder))
        yield _throughput(url, folder, bare, num_rounds)
        yield _starts(url, folder)
        yield _pictures(url, folder, picture)


def _throughput(url: str, folder: Path, bare: Callable[[], object], num_rounds: int) -> Row:
    num_frames = NUM_CLIENTS * sum(CLIP_LENGTHS)
    seconds: dict[str, list[float]] = {"ours": [], "animator alone": []}
    waits_s: list[float] = []
    for _ in range(num_rounds):
        seconds["animator alone"].append(_time(bare) * NUM_CLIENTS / num_frames)
        with _asking_for_status(url, waits_s):
            seconds["ours"].append(_time(partial(_animate_by_all_clients, url, folder)) / num_frames)
    share = statistics.median(a / b for a, b in zip(seconds["animator alone"], seconds["ours"], strict=True))
    note = (
        f"{100 * share:.0f} % of the animator's frames/s; status p99 {1000 * _percentile(waits_s, 99):.0f} ms"
    )
    return Row("service", f"{NUM_CLIENTS} clients, {SIZE_PX} px, a frame", seconds, note)


def _starts(url: str, folder: Path) -> Row:
    seconds = []
    with Client(url) as client:
        for _ in range(NUM_STARTS):
            sent_s = time.time()
            job = client.submit(folder / "source.png", folder / "1.mp4", _uncropped())
            started_s = client.wait(job.id).started_s
            assert started_s is not None
            seconds.append(started_s - sent_s)
    return Row(
        "service", "request to start, idle", {"ours": seconds}, f"p95 {_percentile(seconds, 95):.2f} s"
    )


def _pictures(url: str, folder: Path, bare: Callable[[], object]) -> Row:
    seconds: dict[str, list[float]] = {"ours": [], "decoded alone": []}
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        portrait = {"source": (folder / "source.png").read_bytes(), "square": (None, f"0:0:{SIZE_PX}")}
        answer = http.post("/v1/manipulations", files=portrait).raise_for_status()
        kept = answer.headers["LIA-Portrait"]
        random = np.random.default_rng(0)
        for _ in range(NUM_PICTURES):
            weights = ",".join(f"{weight:.3f}" for weight in random.normal(size=NUM_DIRECTIONS))
            fields = {"portrait": (None, kept), "weights": (None, weights), "format": (None, "jpeg")}
            seconds["ours"].append(_time(partial(_draw, http, fields)))
            seconds["decoded alone"].append(_time(bare))
    ratio = _percentile(seconds["ours"], 95) / _percentile(seconds["decoded alone"], 95)
    return Row(
        "service", f"slider, {SIZE_PX} px", seconds, f"p95 is {ratio:.2f} times that of decoding alone"
    )


def build_animation(folder: Path, lengths: tuple[int, ...]) -> Callable[[], object]:
    """Return a function that animates the clips of one client from frames in memory."""
    animator = _load(folder)
    source = read_image(folder / "source.png")
    clips = [[frame.image for frame in decode(folder / f"{length}.mp4")] for length in lengths]

    def run() -> None:
        for clip in clips:
            for _ in animator.animate(source, clip, batch_size=BATCH_SIZE):
                pass

    return run


def build_picture(folder: Path) -> Callable[[], object]:
    """Return a function that draws one picture of a portrait that is encoded already."""
    animator = _load(folder)
    portrait = animator.encode(read_image(folder / "source.png"))
    weights = np.zeros(NUM_DIRECTIONS, np.float32)
    return lambda: animator.paint(portrait, weights)


def _load(folder: Path) -> Animator:
    return Animator.load(folder / "checkpoint", device="cpu")


@contextmanager
def _apart(build: Callable[..., Callable[[], object]], *arguments: object) -> Iterator[Callable[[], object]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(NUM_THREADS)
    candidate = Apart(build, *arguments)
    torch.set_num_threads(threads)
    try:
        candidate()
        yield candidate
    finally:
        candidate.close()


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Run `lia serve` in a project of its own until the block ends."""
    shutil.copy(ROOT / "params.yaml", folder)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(Path(sys.executable).with_name("lia")),
        "serve",
        "--model",
        "checkpoint",
        "--port",
        str(port),
    ]
    # Ray's workers yield to other programs by default, which counts on a machine with other work.
    variables = os.environ | {"RAY_worker_niceness": "0"}
    with (folder / "serve.log").open("w") as log:
        service = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
    try:
        _wait_until_healthy(url, service, folder / "serve.log")
        yield url
    finally:
        service.terminate()
        service.wait()


def _wait_until_healthy(url: str, service: subprocess.Popen, log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and service.poll() is None:
        try:
            if httpx.get(f"{url}/healthz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"the service has not started:\n{log.read_text()[-2000:]}")


@contextmanager
def _asking_for_status(url: str, waits_s: list[float]) -> Iterator[None]:
    """Ask for the list of animations all the time, as a page does, and note how long each answer takes."""
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            job = http.get("/v1/animations?limit=1").json()["animations"]
            path = job[0]["links"]["self"] if job else "/v1/animations?limit=1"
            while not ended.wait(STATUS_PAUSE_S):
                waits_s.append(_time(lambda: http.get(path).raise_for_status()))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _write_inputs(folder: Path) -> None:
    uncropped = CropFacts(rule="none", scale=1.0, outside="pad")
    save_generator(folder / "checkpoint", calmed_generator(SIZE_PX), {"crop": uncropped.model_dump()})
    random = np.random.default_rng(0)
    one, other = draw_identity(random), draw_identity(random)
    Image.fromarray(render(one, draw_motion(random, 1)[0], SIZE_PX)).save(folder / "source.png")
    for length in (1, *CLIP_LENGTHS):
        with VideoWriter(folder / f"{length}.mp4", FPS, (SIZE_PX, SIZE_PX)) as video:
            for image in render_clip(other, draw_motion(random, length), SIZE_PX):
                video.write(image)


def _animate_by_all_clients(url: str, folder: Path) -> None:
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        list(pool.map(partial(_animate_all, url, folder), range(NUM_CLIENTS)))


def _animate_all(url: str, folder: Path, number: int) -> None:
    """Animate each clip as one client, and fetch the videos."""
    with Client(url) as client:
        lengths = np.roll(CLIP_LENGTHS, number).tolist()
        jobs = [
            client.submit(folder / "source.png", folder / f"{length}.mp4", _uncropped()) for length in lengths
        ]
        for job in jobs:
            client.wait(job.id)
            client.download(job.id, folder / f"result_{number}.mp4")


def _draw(http: httpx.Client, fields: dict[str, tuple[None, str]]) -> None:
    http.post("/v1/manipulations", files=fields).raise_for_status()


def _uncropped() -> AnimationOptions:
    return AnimationOptions(crop=False, side_by_side=False)


def _time(run: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    run()
    return time.perf_counter() - started_s


def _percentile(seconds: list[float], percent: float) -> float:
    return float(np.percentile(seconds, percent))
