"""Licences that limit the use of a model: of the face detector, the frozen networks and the training videos.

A model trained with non-commercial parts inherits their limits. They are kept as tags of its version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

PREFIX = "lia.licence_"
"""Beginning of the tags; the part follows."""
UNKNOWN = "not recorded"
_IMAGENET = "trained on ImageNet, whose images are for non-commercial research"


def licence_tags(licences: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a version that record its licences."""
    return {f"{PREFIX}{part}": note for part, note in licences.items()}


def licences_in(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the licences by part that a version's tags record."""
    return {name.removeprefix(PREFIX): note for name, note in tags.items() if name.startswith(PREFIX)}


def gather_licences(
    detector: str | None, provenance: Mapping[str, Any], of_videos: Iterable[str | None]
) -> dict[str, str]:
    """Return the licences by part: `detector`, `features` and `data`.

    Args:
        detector: the note of the shards' manifest; None if the shards of this model are not at hand.
        provenance: of the checkpoint, which records the backbone of the perceptual loss.
        of_videos: the licence of each training video, as listed; None for one without.
    """
    backbone = (provenance.get("perceptual") or {}).get("backbone")
    features = "no frozen network" if "perceptual" in provenance else UNKNOWN
    counted = Counter(licence or "no licence listed" for licence in of_videos)
    videos = (f"{note} ({num} video{'s' if num != 1 else ''})" for note, num in sorted(counted.items()))
    return {
        "detector": detector or UNKNOWN,
        "features": f"{backbone} {_IMAGENET}" if backbone else features,
        "data": ", ".join(videos) or UNKNOWN,
    }
