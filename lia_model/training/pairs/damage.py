"""Frames that do not decode: which ones, and how many pairs were replaced because of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lia_model.training.stop import DamagedDataError

MAX_SHARE = 0.001
"""Of the pairs that may be replaced."""
MIN_REPLACED_PAIRS = 10
"""Fewer never end a run: early in it, a single damaged frame is already more than `MAX_SHARE`."""
MAX_NAMED = 100


class DamagedFrame(NamedTuple):
    """One frame that does not decode."""

    clip: str
    """Key of the clip."""
    frame: int
    shard: str
    """The tar that holds it, such as `train/00000.tar`."""
    reason: str

    def __str__(self) -> str:
        return f"frame {self.frame} of {self.clip} in {self.shard} ({self.reason})"


class ReplacedPair(NamedTuple):
    """A pair that was replaced, with what was found on the way to its replacement."""

    number: int
    frames: tuple[DamagedFrame, ...]
    is_replaced: bool
    """False if no other pair was found that decodes."""


@dataclass
class Damage:
    """Found so far in a run; stored in its checkpoints.

    It covers exactly the pairs that the run has consumed, so that a resumed run counts none twice.
    """

    frames: set[DamagedFrame] = field(default_factory=set)
    num_replaced_pairs: int = 0
    is_hopeless: bool = False
    """Whether a pair found no replacement."""

    @classmethod
    def from_counters(cls, counters: dict[str, Any]) -> Damage:
        """Return the damage of `Damage.counters`; none for those of an older version."""
        frames = {DamagedFrame(**one) for one in counters.get("damaged_frames", ())}
        return cls(frames, counters.get("num_replaced_pairs", 0))

    def add(self, pairs: Iterable[ReplacedPair]) -> None:
        """Count further replaced pairs."""
        for pair in pairs:
            self.frames.update(pair.frames)
            self.num_replaced_pairs += 1
            self.is_hopeless |= not pair.is_replaced

    def require_little(self, num_pairs: int) -> None:
        """Check the share of replaced pairs among the `num_pairs` of the run so far.

        Raises:
            DamagedDataError: there are too many; the message lists the frames.
        """
        is_little = self.num_replaced_pairs <= max(MIN_REPLACED_PAIRS, MAX_SHARE * num_pairs)
        if is_little and not self.is_hopeless:
            return
        named = self.names()
        rest = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        raise DamagedDataError(
            f"{self.num_replaced_pairs} of {num_pairs} pairs hold frames that do not decode; at most "
            f"{MAX_SHARE:.1%} may: make the shards again with `lia shards`, or copy them again; damaged are "
            f"{', '.join(named[:MAX_NAMED])}{rest}"
        )

    def names(self) -> list[str]:
        """Return what messages call the frames, in order."""
        return [str(frame) for frame in sorted(self.frames)]

    def counters(self) -> dict[str, Any]:
        """Return the damage as plain values, with the frames in order; empty if there is none."""
        if not self.num_replaced_pairs:
            return {}
        frames = [frame._asdict() for frame in sorted(self.frames)]
        return {"damaged_frames": frames, "num_replaced_pairs": self.num_replaced_pairs}

    def metrics(self) -> dict[str, float]:
        """Return the counts to log; none while nothing is damaged."""
        if not self.num_replaced_pairs:
            return {}
        return {"data/damaged_frames": len(self.frames), "data/replaced_pairs": self.num_replaced_pairs}
