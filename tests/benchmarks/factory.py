"""From videos to cut clips: against the bare parts of the same work, and against looking at every frame."""

from __future__ import annotations

import hashlib
import io
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from lia_model.animation.compositing import resize
from preprocessing.clips.sample import PreparedClip
from preprocessing.clips.source_run import SourceTask, process_source
from preprocessing.clips.stored_result import SourceResult
from preprocessing.clips.units import group_into_units, process_here
from preprocessing.faces.detector import FaceDetector
from preprocessing.faces.embedder import FaceReader
from preprocessing.media.boxes import Box, iou
from preprocessing.media.images import cut
from preprocessing.media.parts.listed_part import part_frames
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.media.video_writer import VideoWriter
from preprocessing.settings import ShardsSettings
from preprocessing.sources.source import Source, source_key
from tests.benchmarks.timing import Row, by_turns

SAMPLE = Path("data/samples/WolfgangLanger_Pexels.mp4")
"""A real talking head of 20 s, 640 x 360."""
SAMPLES = (SAMPLE, Path("data/samples/single_face.mp4"))
SIZE_PX = 256
NUM_WORKERS = 2
LONG_TIMES = 6
HD_SIZE = (1920, 1080)
NUM_HD_FRAMES = 300
ALONE = """
import sys
from preprocessing.clips.source_run import SourceTask, process_source
from tests.peak_memory import peak_bytes
process_source(SourceTask.model_validate_json(sys.stdin.read()))
print(peak_bytes() / 1e9)
"""


def measure(num_rounds: int) -> Iterator[Row]:
    """Time the work on one source, on two side by side, and show boxes and memory."""
    shipped = ShardsSettings(**yaml.safe_load(Path("pipelines/presets/demo.yaml").read_text())["shards"])
    settings = shipped.model_copy(update={"crop": shipped.crop.model_copy(update={"size_px": SIZE_PX})})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield _one_source(folder, settings, num_rounds)
        yield _full_hd(folder, settings, num_rounds)
        yield _side_by_side(folder, settings, num_rounds)
        yield _every_frame(folder, settings)
        yield _long_video(folder, settings)


def make_job(video: Path, folder: Path, settings: ShardsSettings, number: int = 0) -> SourceTask:
    """Return the task of a video whose results go to `folder`."""
    url = f"http://127.0.0.1/{number}.mp4"
    return SourceTask(
        source=Source(url=url, key=source_key(url)),
        video=video.resolve(),
        video_sha256=hashlib.sha256(video.read_bytes()).hexdigest(),
        root=Path.cwd(),
        settings=settings,
        tracks=folder / "tracks",
        clips=folder / "clips",
    )


def frames_of(task: SourceTask) -> Iterator[NumberedFrame]:
    """Return the frames of a task's video, whole."""
    return part_frames(task.video, task.settings.fps, task.settings.max_gap_s, None, None)


def _fresh(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


def _one_source(folder: Path, settings: ShardsSettings, num_rounds: int) -> Row:
    task = make_job(SAMPLE, _fresh(folder), settings)
    (prepared,) = process_source(task).prepared
    kept, square = prepared.clip.num_frames, _box(prepared)
    with np.load(next(task.tracks.glob("*.npz"))) as stored:
        num_calls, embedded = len(stored["frames"]), len(stored["embedded"])
        face = Box(*stored["faces"][0][1:5].tolist())
    frames = list(frames_of(task))
    detect = settings.detect
    detector = FaceDetector(task.root / detect.models, detect.min_score, detect.pad_px)
    assert settings.identity.models is not None
    reader = FaceReader(task.root / settings.identity.models)
    squares = [cut(frame.image, square, settings.crop.size_px) for frame in frames[:kept]]

    def encode() -> None:
        for image in squares:
            Image.fromarray(image).save(io.BytesIO(), "jpeg", quality=settings.jpeg_quality, subsampling=0)

    parts: dict[str, Callable[[], object]] = {
        "decoding": lambda: [frame.number for frame in frames_of(task)],
        "detector": lambda: [detector.detect(frame.image) for frame in frames[:num_calls]],
        "embedding": lambda: [reader.read(frame.image, face) for frame in frames[:embedded]],
        "cropping": lambda: [cut(frame.image, square, settings.crop.size_px) for frame in frames[:kept]],
        "encoding": encode,
    }
    ours = {"ours": lambda: process_source(make_job(SAMPLE, _fresh(folder), settings))}
    seconds = by_turns(ours | parts, num_rounds, torch.device("cpu"))
    total = [float(sum(each)) for each in zip(*(seconds[name] for name in parts), strict=True)]
    row = Row("factory", f"one source, {SIZE_PX} px, one process", seconds | {"sum of the parts": total})
    facts = [
        f"{1 / row.ratio('sum of the parts'):.2f} times the sum of its bare parts",
        f"{len(frames) / row.median_ms('ours') * 1000:.0f} frames/s",
        f"{len(frames)} frames, {num_calls} looked at, {embedded} embedded, {kept} kept",
    ]
    return Row(row.section, row.name, row.seconds, "; ".join(facts))


def _full_hd(folder: Path, settings: ShardsSettings, num_rounds: int) -> Row:
    """Show the rate and the peak memory of one process on the sample's beginning, enlarged to 1080 lines."""
    enlarged = folder / "full_hd.mp4"
    frames = itertools.islice(frames_of(make_job(SAMPLE, folder, settings)), NUM_HD_FRAMES)
    with VideoWriter(enlarged, Fraction(settings.fps), HD_SIZE) as writer:
        for frame in frames:
            writer.write(resize(frame.image, *HD_SIZE))
    run: dict[str, Callable[[], object]] = {
        "ours": lambda: process_source(make_job(enlarged, _fresh(folder), settings))
    }
    row = Row("factory", "one source of 1080 lines", by_turns(run, num_rounds, torch.device("cpu")))
    rate = NUM_HD_FRAMES / row.median_ms("ours") * 1000
    peak = _peak_gb(make_job(enlarged, _fresh(folder), settings))
    return Row(row.section, row.name, row.seconds, f"{rate:.0f} frames/s, peak memory {peak:.2f} GB")


def _side_by_side(folder: Path, settings: ShardsSettings, num_rounds: int) -> Row:
    def run() -> None:
        into = _fresh(folder)
        jobs = [make_job(SAMPLE, into, settings, number) for number in range(2 * NUM_WORKERS)]
        units = group_into_units(jobs, len(jobs), lambda task: task.source)
        process_here(units, NUM_WORKERS, lambda result: None)

    seconds = by_turns({"ours": run}, num_rounds, torch.device("cpu"))
    row = Row("factory", f"{2 * NUM_WORKERS} sources, {NUM_WORKERS} processes", seconds)
    task = make_job(SAMPLE, folder, settings)
    num_frames = 2 * NUM_WORKERS * sum(1 for _ in frames_of(task))
    rate = num_frames / row.median_ms("ours") * 1000
    return Row(row.section, row.name, row.seconds, f"{rate:.0f} source frames/s, starting included")


def _every_frame(folder: Path, settings: ShardsSettings) -> Row:
    """Compare the boxes of the clips with those that come of a look at every frame."""
    every = settings.model_copy(update={"detect": settings.detect.model_copy(update={"every_num_frames": 1})})
    overlaps: list[float] = []
    seconds: dict[str, list[float]] = {"ours": [], "every frame": []}
    for video in SAMPLES:
        found: list[SourceResult] = []
        for name, chosen in (("ours", settings), ("every frame", every)):
            started = time.perf_counter()
            found.append(process_source(make_job(video, _fresh(folder), chosen)))
            seconds[name].append(time.perf_counter() - started)
        overlaps += [
            max((iou(_box(one), _box(other)) for other in found[1].prepared), default=0.0)
            for one in found[0].prepared
        ]
    note = f"median IoU of {len(overlaps)} clip boxes {np.median(overlaps):.3f}, least {min(overlaps):.3f}"
    return Row("factory", "boxes against every frame's", seconds, note)


def _box(prepared: PreparedClip) -> Box:
    return Box(*map(float, prepared.clip.crop_box))


def _long_video(folder: Path, settings: ShardsSettings) -> Row:
    """Show the peak memory of one process on the sample, and on a video some times as long."""
    task = make_job(SAMPLE, folder, settings)
    images = [frame.image for frame in frames_of(task)]
    long = folder / "long.mp4"
    with VideoWriter(long, Fraction(settings.fps), (images[0].shape[1], images[0].shape[0])) as writer:
        for turn in range(LONG_TIMES):
            for image in images if turn % 2 == 0 else images[::-1]:
                writer.write(image)
    started = time.perf_counter()
    peaks = [_peak_gb(make_job(video, _fresh(folder), settings)) for video in (SAMPLE, long)]
    seconds = {"ours": [time.perf_counter() - started]}
    note = (
        f"peak memory {peaks[0]:.2f} GB for {len(images)} frames, "
        f"{peaks[1]:.2f} GB for {LONG_TIMES} times as many"
    )
    return Row("factory", "memory", seconds, note)


def _peak_gb(task: SourceTask) -> float:
    """Return the most memory of a process that does nothing but this task."""
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, input=task.model_dump_json(), check=True, capture_output=True, text=True)
    return float(done.stdout)
