"""Same-identity reconstruction on held-out clips, beside the baseline of copying the source frame.

A clip's source frame is the first frame of the clip itself; where the clip is the later part of one that was
split by time, it is the first frame of the earlier part. Frames and pairs compared are returned with the
numbers, so
that they can be repeated.
Axes: T frames, S side of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lia_model import metrics
from lia_model.animator import Animator
from lia_model.data import Clip, ShardedClips, to_float
from lia_model.perceptual import Lpips
from lia_model.settings import EvaluateSettings

METRICS = ("l1", "psnr", "ssim", "lpips")


@dataclass(frozen=True)
class EvaluationClip:
    """One held-out clip with the frames that are compared."""

    clip: Clip
    source: UInt8[np.ndarray, "S S 3"]
    frame_numbers: list[int]
    frames: UInt8[np.ndarray, "T S S 3"]


@dataclass(frozen=True)
class ClipScores:
    """Means over the frames of one clip."""

    key: str
    url: str
    by_time: bool
    frame_numbers: list[int]
    model: dict[str, float]
    copy_source: dict[str, float]

    def as_row(self) -> dict[str, Any]:
        """Return a row of the metrics file; improvement is the share of copying's L1 that is saved."""
        return {
            "clip": self.key,
            "url": self.url,
            "by_time": self.by_time,
            "num_frames": len(self.frame_numbers),
            **self.model,
            **{f"copy_source_{name}": value for name, value in self.copy_source.items()},
            "improvement": 1 - self.model["l1"] / self.copy_source["l1"] if self.copy_source["l1"] else 0.0,
        }


def held_out_clips(shards: Path, max_num_frames: int) -> Iterator[EvaluationClip]:
    """Yield the clips of the test split, one in memory at a time."""
    test = ShardedClips(shards, "test")
    train: ShardedClips | None = None
    for clip in test.clips:
        numbers = (
            np.linspace(0, clip.num_frames - 1, min(clip.num_frames, max_num_frames)).round().astype(int)
        )
        follows = clip.info["follows"]
        if follows is None:
            source = test.frame(clip.index, 0)
        else:
            train = train or ShardedClips(shards, "train")
            source = train.frame(next(c.index for c in train.clips if c.key == follows), 0)
        frames = np.stack([test.frame(clip.index, int(number)) for number in numbers])
        yield EvaluationClip(clip, source, [int(number) for number in numbers], frames)


def evaluate(
    animator: Animator,
    shards: Path,
    settings: EvaluateSettings,
    on_clip: Callable[[ClipScores, EvaluationClip, UInt8[np.ndarray, "T S S 3"]], None] = lambda *_: None,
) -> list[ClipScores]:
    """Reconstruct every held-out clip from its source frame, with absolute motion, and compare.

    Args:
        animator: the model.
        shards: directory of the shards; its test split is used.
        settings: frames a clip and weights of LPIPS.
        on_clip: receives each clip's scores, frames and results.

    Raises:
        ValueError: there is no held-out clip, LPIPS weights are missing, or the model's images are of another
        size.
    """
    lpips = Lpips(settings.lpips).eval()
    scores = []
    for item in held_out_clips(shards, settings.max_num_frames_per_clip):
        if item.source.shape[0] != animator.size_px:
            raise ValueError(
                f"the model makes {animator.size_px} px images, the shards hold {item.source.shape[0]} px: "
                "train on these shards or evaluate on those it was trained on"
            )
        result = np.stack(list(animator.animate(item.source, item.frames, "absolute", settings.batch_size)))
        copied = np.broadcast_to(item.source, item.frames.shape)
        scores.append(
            ClipScores(
                item.clip.key,
                item.clip.info["url"],
                item.clip.info["by_time"],
                item.frame_numbers,
                compare(result, item.frames, lpips, settings.batch_size),
                compare(copied, item.frames, lpips, settings.batch_size),
            )
        )
        on_clip(scores[-1], item, result)
    return scores


@torch.inference_mode()
def compare(
    result: UInt8[np.ndarray, "T S S 3"], truth: UInt8[np.ndarray, "T S S 3"], lpips: Lpips, batch_size: int
) -> dict[str, float]:
    """Return the mean of every metric over the frames; images in [0, 1], LPIPS on [-1, 1]."""
    values: dict[str, list[Float[Tensor, " B"]]] = {name: [] for name in METRICS}
    for start in range(0, len(truth), batch_size):
        a, b = (to_float(frames[start : start + batch_size]) for frames in (result, truth))
        values["lpips"].append(lpips(a, b))
        a, b = (a + 1) / 2, (b + 1) / 2
        for name in ("l1", "psnr", "ssim"):
            values[name].append(getattr(metrics, name)(a, b))
    return {name: float(torch.cat(parts).mean()) for name, parts in values.items()}


def mean_scores(scores: list[ClipScores]) -> dict[str, float]:
    """Return the means over clips, each counted once; the baseline's names begin with `copy_source_`."""
    rows = [score.as_row() for score in scores]
    names = [*METRICS, *(f"copy_source_{name}" for name in METRICS), "improvement"]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}
