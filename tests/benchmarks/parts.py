"""A listed part of a long video: what it costs at the video's end, over what it costs at its beginning."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import torch
import yaml

from preprocessing.clips.source_run import SourceTask, process_source
from preprocessing.media.parts.listed_part import part_frames
from preprocessing.media.video_reader import probe
from preprocessing.settings import ShardsSettings
from tests.benchmarks.factory import SAMPLE, make_job
from tests.benchmarks.timing import Row, by_turns
from tests.preprocessing.ffmpeg import ffmpeg

VIDEO_S = 600
PART_S = 4


def measure(num_rounds: int) -> Iterator[Row]:
    """Time a part at both ends of a video that repeats one scene: with faces and clips, and frames alone."""
    settings = ShardsSettings(**yaml.safe_load(Path("pipelines/presets/demo.yaml").read_text())["shards"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long = folder / "long.mp4"
        ffmpeg("-stream_loop", "-1", "-i", SAMPLE, "-t", VIDEO_S, "-an", "-c", "copy", long)
        scene_s = float(probe(SAMPLE).duration_s)
        last_s = round(scene_s * (VIDEO_S // scene_s - 1), 3)
        numbers = count()

        def process(start_s: float) -> None:
            process_source(_task(long, folder / str(next(numbers)), settings, start_s))

        def read(start_s: float) -> None:
            _forget(long)
            for frame in part_frames(long, settings.fps, settings.max_gap_s, start_s, start_s + PART_S):
                _ = frame.image

        for what, run in (("faces and clips", process), ("frames alone", read)):
            seconds = by_turns(
                {"ours": partial(run, 0.0), f"at {last_s:.0f} s": partial(run, last_s)},
                num_rounds,
                torch.device("cpu"),
            )
            yield Row("parts", f"{PART_S} s of {VIDEO_S} s, {what}", seconds)


def _task(video: Path, folder: Path, settings: ShardsSettings, start_s: float) -> SourceTask:
    _forget(video)
    task = make_job(video, folder, settings)
    part = replace(task.source, start_s=start_s, end_s=start_s + PART_S)
    return task.model_copy(update={"source": part})


def _forget(video: Path) -> None:
    """Make the video look new, so that nothing remembered of it is used."""
    os.utime(video)
