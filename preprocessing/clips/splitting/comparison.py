"""How people are compared across sources, and what is known of the embedder's errors."""

from pathlib import Path
from typing import NamedTuple

from preprocessing.clips.crop import finds_faces
from preprocessing.faces.networks import person_limits
from preprocessing.settings import ShardsSettings


class Comparison(NamedTuple):
    """How people were compared across sources."""

    measured: str | None
    """What is known of the embedder's errors at the distance used, in words; None if people were not compared
    or not reliably."""
    why_not: str
    """Why not; empty if they were."""


def compare_people(root: Path, settings: ShardsSettings) -> Comparison:
    """Return how people are compared across sources, and what is known of the errors."""
    labels = "so only the labels of the list were compared"
    if not finds_faces(settings.crop):
        return Comparison(None, f"crop rule {settings.crop.rule} detects no faces, {labels}")
    if settings.identity.models is None:
        return Comparison(None, f"shards.identity.models names no embedder, {labels}")
    if not settings.identity.across_sources:
        return Comparison(None, f"shards.identity.across_sources is off, {labels}")
    limits = person_limits(root, settings.detect, settings.identity)
    if limits.calibration is None:
        return Comparison(
            None, "people were compared by an embedder whose errors are not measured; `lia calibrate` does it"
        )
    doubt = limits.calibration.doubt(limits.person_distance)
    if doubt is not None:
        return Comparison(None, f"people were compared by {limits.calibration.embedder}, but {doubt}")
    return Comparison(limits.calibration.describe(limits.person_distance), "")
