"""Whether train and test show different people: proven, refuted, or not known and why. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from preprocessing.clips.sample import KeptClip
from preprocessing.clips.splitting.comparison import Comparison
from preprocessing.ledger import ClipRow


class Disjointness(NamedTuple):
    """What is known of the people in train and test."""

    is_disjoint: bool | None
    """None if it is not known."""
    reason: str


def judge_disjointness(
    rows: Sequence[ClipRow], clips: Sequence[KeptClip], comparison: Comparison
) -> Disjointness:
    """Return whether train and test show different people.

    Args:
        rows: of the ledger; `assign` has already filtered people whose splits would clash.
        clips: the kept clips.
        comparison: of people across sources.
    """
    by_time = sum(one.by_time for one in clips)
    if by_time:
        return Disjointness(False, f"{by_time} clips are of videos that were split by time")
    if {one.split for one in clips} != {"train", "test"}:
        return Disjointness(None, "no clip is held out")
    if comparison.measured is None:
        return Disjointness(None, comparison.why_not)
    kept = [row for row in rows if row.outcome == "kept"]
    unknown = sum(row.person is None for row in kept)
    if unknown:
        return Disjointness(None, f"{unknown} of {len(kept)} clips show a face that was not embedded")
    return Disjointness(True, comparison.measured)
