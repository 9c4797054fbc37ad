"""Which clip and which two frames of it a pair shows, by the pair's number.

Everything is a pure function of the seed and the number, so that any number of ranks shares out one sequence
of pairs and resuming needs nothing but the number of pairs consumed.
Axes: N visits of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float, Integer

from lia_model.data.sharded_clips import ShardedClips
from lia_model.settings import Balance, TrainSettings

Pair = tuple[int, int, int]
"""Clip, source frame and driving frame."""
Yaws = Callable[[int], Float[np.ndarray, " T"] | None]
"""Returns the yaw of each frame of a clip in degrees, or None where it is not known."""

GAP_BIN_DEG = 10.0
"""Width of the ranges of yaw differences that are drawn equally often."""
# Streams of random numbers that share the seed and a number; augmentation has one more.
_FRAMES, _REPLACEMENT, _CLIP_OF_PERSON = (1, 0, 0, 0), 3, 4


@dataclass(frozen=True)
class PairDraw:
    """Draws two different frames of a clip for every pair, numbered through the whole training.

    The pairs are drawn in visits to clips. Every epoch visits, in a new order,
    - by clip: every clip once;
    - by person: every person once, in one of their clips; these take turns, in a new order every time round;
    - by frames: every clip as often as it has frames.
    """

    num_frames: tuple[int, ...]
    """Frames of each clip, all at least 2."""
    seed: int
    pairs_per_visit: int = 1
    balance: Balance = "clip"
    people: tuple[str, ...] = ()
    """Who is shown in each clip; read for balance by person."""
    yaws: Yaws | None = None
    """None draws both frames uniformly. Else their yaw difference is drawn: the ranges of `GAP_BIN_DEG` that
    a clip has for the source frame are equally likely. Clips whose yaw is not known are drawn uniformly."""

    @property
    def visits_per_epoch(self) -> int:
        """Return how many visits are an epoch."""
        if self.balance == "person":
            return len(self._clips_of_people)
        return int(self._first_frame[-1]) if self.balance == "frames" else len(self.num_frames)

    def pair(self, number: int) -> Pair:
        """Return clip, source frame and driving frame of a pair."""
        clip = self._clip(number // self.pairs_per_visit)
        return self._frames_of(clip, _random(self.seed, number, _FRAMES))

    def replacement(self, number: int, attempt: int) -> Pair:
        """Return another pair for `number`, drawn as all others, where the one before does not decode.

        Args:
            number: of the pair.
            attempt: 1 for the first replacement, 2 for the replacement of that one.
        """
        draw = _random(self.seed, number, (0, 0, attempt, _REPLACEMENT))
        epoch = number // self.pairs_per_visit // self.visits_per_epoch
        visit = epoch * self.visits_per_epoch + int(draw.integers(self.visits_per_epoch))
        return self._frames_of(self._clip(visit), draw)

    def _clip(self, visit: int) -> int:
        epoch, position = divmod(visit, self.visits_per_epoch)
        unit = int(visiting_order(self.seed, epoch, self.visits_per_epoch)[position])
        if self.balance == "frames":
            return int(np.searchsorted(self._first_frame, unit, side="right")) - 1
        if self.balance == "person":
            clips = self._clips_of_people[unit]
            turn, place = divmod(epoch, len(clips))
            draw = _random(self.seed, turn, (0, 0, unit, _CLIP_OF_PERSON))
            return clips[int(draw.permutation(len(clips))[place])]
        return unit

    def _frames_of(self, clip: int, draw: np.random.Generator) -> Pair:
        yaws = self.yaws and self.yaws(clip)
        if yaws is None:
            source, driving = draw.choice(self.num_frames[clip], size=2, replace=False)
        else:
            source = draw.integers(len(yaws))
            driving = _frame_across(yaws, int(source), draw)
        return clip, int(source), int(driving)

    @cached_property
    def _first_frame(self) -> Integer[np.ndarray, " C"]:
        return np.cumsum((0, *self.num_frames))

    @cached_property
    def _clips_of_people(self) -> Sequence[Sequence[int]]:
        found: dict[str, list[int]] = {}
        for clip, person in enumerate(self.people):
            found.setdefault(person, []).append(clip)
        return [found[person] for person in sorted(found)]


def build_draw(clips: ShardedClips, settings: TrainSettings) -> PairDraw:
    """Return the draw of a training on `clips`.

    Raises:
        ValueError: the frames' distance is drawn by yaw, and the shards hold the yaw of no clip.
    """
    sampling = settings.sampling
    if sampling.gap == "yaw" and not clips.has_yaw:
        raise ValueError(
            f"train.sampling.gap is yaw, but {clips.directory} holds the yaw of no frame; it is measured "
            "where faces are detected: make the shards again with `lia shards`, or set gap to uniform"
        )
    return PairDraw(
        clips.num_frames,
        settings.seed,
        settings.pairs_per_visit,
        sampling.balance,
        tuple(clips.people) if sampling.balance == "person" else (),
        clips.yaw_deg if sampling.gap == "yaw" else None,
    )


# Cached, since one order serves all pairs of an epoch; a batch may extend into the next epoch, hence two.
@lru_cache(maxsize=2)
def visiting_order(seed: int, epoch: int, num_visits: int) -> Integer[np.ndarray, " N"]:
    """Return the order in which an epoch makes its visits."""
    visits = np.arange(num_visits, dtype=np.min_scalar_type(num_visits))
    np.random.Generator(np.random.Philox(key=[seed, epoch])).shuffle(visits)
    visits.flags.writeable = False
    return visits


def _frame_across(yaws: Float[np.ndarray, " T"], source: int, draw: np.random.Generator) -> int:
    """Return another frame, by the range of its yaw difference from `source`."""
    ranges = (np.abs(yaws - yaws[source]) / GAP_BIN_DEG).astype(np.int64)
    ranges[source] = -1
    present = np.flatnonzero(np.bincount(ranges + 1)[1:])
    frames = np.flatnonzero(ranges == present[draw.integers(len(present))])
    return int(frames[draw.integers(len(frames))])


def _random(seed: int, number: int, counter: tuple[int, int, int, int]) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=counter))
