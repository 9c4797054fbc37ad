"""The loader of training pairs against the bare decoding of the same frames, on one thread."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lia_model.data.pixels import decode_frame
from lia_model.data.sharded_clips import ShardedClips
from lia_model.training.pairs.draw import PairDraw
from lia_model.training.pairs.loader import PairLoader
from tests.benchmarks.timing import Row, by_turns
from tests.lia_model.shards_on_disk import write_shards
from tests.puppets import draw_identity, draw_motion, render_clip

SIZE_PX, NUM_CLIPS, NUM_FRAMES, BATCH_SIZE, NUM_STEPS = 256, 24, 12, 8, 8
MANY_CLIPS = 100_000
NUM_CHOSEN_CLIPS, NUM_CHOICES = 20_000, 2000


def measure(num_rounds: int) -> Iterator[Row]:
    """Time batches of pairs at 256 px, and tell how well the order is shuffled."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            yield _pairs(Path(name) / "shards", num_rounds)
    finally:
        torch.set_num_threads(threads)


def _pairs(shards: Path, num_rounds: int) -> Row:
    rng = np.random.default_rng(0)
    clips = [render_clip(draw_identity(rng), draw_motion(rng, NUM_FRAMES), SIZE_PX) for _ in range(NUM_CLIPS)]
    write_shards(shards, {"train": clips}, SIZE_PX)
    stored = ShardedClips(shards, "train")
    draw = PairDraw(stored.num_frames, 0)
    batches = [range(step * BATCH_SIZE, (step + 1) * BATCH_SIZE) for step in range(NUM_STEPS)]
    loader = PairLoader(stored, draw)
    wanted = [
        (clip, frame) for numbers in batches for clip, *both in map(draw.pair, numbers) for frame in both
    ]
    files = [stored.frame_bytes(clip, frame) for clip, frame in wanted]
    seconds = by_turns(
        {
            "ours": lambda: [loader.frames(numbers) for numbers in batches],
            "ours, as images": lambda: [
                loader.images(loader.frames(numbers), numbers) for numbers in batches
            ],
            "bare decoding": lambda: [decode_frame(data) for data in files],
            "bare reading": lambda: [stored.frame_bytes(clip, frame) for clip, frame in wanted],
        },
        num_rounds,
        torch.device("cpu"),
    )
    per_pair = {name: [each / len(wanted) * 2 for each in times] for name, times in seconds.items()}
    row = Row("loader", f"{SIZE_PX} px, a pair, one thread", per_pair)
    facts = [
        f"{1000 / row.median_ms('ours'):.0f} pairs/s a core",
        f"{100 * row.ratio('bare decoding'):.0f} % of the bare decode rate",
        f"as images on this core {1000 / row.median_ms('ours, as images'):.0f} pairs/s",
        f"{np.mean([len(data) for data in files]) / 1000:.0f} kB a frame",
        f"correlation of neighbouring samples' clips among {MANY_CLIPS}: {_correlation(1, 1):+.4f}",
        f"with 4 pairs a visit {_correlation(4, 1):+.2f} in a batch, {_correlation(4, BATCH_SIZE):+.4f} from "
        "batch to batch",
        f"choosing a pair among {NUM_CHOSEN_CLIPS} clips: " + ", ".join(_choices_us()),
    ]
    return Row(row.section, row.name, row.seconds, "; ".join(facts))


def _choices_us() -> Iterator[str]:
    """Yield how long each way to choose a pair takes."""
    rng = np.random.default_rng(0)
    num_frames = tuple(rng.integers(48, 300, NUM_CHOSEN_CLIPS).tolist())
    people = tuple(map(str, rng.integers(0, NUM_CHOSEN_CLIPS // 16, NUM_CHOSEN_CLIPS)))
    yaws = [rng.normal(0, 15, number).astype(np.float32) for number in num_frames]
    ways = {
        "by clip": PairDraw(num_frames, 0),
        "by person": PairDraw(num_frames, 0, balance="person", people=people),
        "by frames": PairDraw(num_frames, 0, balance="frames"),
        "by clip and yaw": PairDraw(num_frames, 0, yaws=yaws.__getitem__),
    }
    for name, draw in ways.items():
        draw.pair(0)
        started_s = time.perf_counter()
        for number in range(NUM_CHOICES):
            draw.pair(number)
        yield f"{name} {1e6 * (time.perf_counter() - started_s) / NUM_CHOICES:.0f} µs"


def _correlation(pairs_per_visit: int, distance: int) -> float:
    """Return the correlation between the numbers of the clips of samples so far apart; 0 is shuffled well."""
    draw = PairDraw((2,) * MANY_CLIPS, 0, pairs_per_visit)
    clips = np.array([draw.pair(number)[0] for number in range(MANY_CLIPS)])
    return float(np.corrcoef(clips[:-distance], clips[distance:])[0, 1])
