"""Calibration of an embedder: how often it errs at a threshold, as measured on labelled clips.

The unit is what the shards stage compares across sources: the mean embedding of a person in one video. A
false match calls two people one, a false non-match calls one person two. N faces, E numbers per embedding.
"""

import hashlib
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import beta

SHIPPED = Path(__file__).with_name("calibrations")
"""Folder of the calibrations of the embedders that we support."""
CALIBRATION_NAME = "calibration.json"
"""Name of a user's own calibration, in the folder of the embedder."""
CONFIDENCE = 0.95
MAX_ERROR_RATE = 0.05
"""Greatest rate of errors with which people count as told apart; 59 pairs without an error prove it."""
STEP = 0.05
"""Step of the thresholds at which rates are recorded."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Rate(_Record):
    """Errors among pairs."""

    num_errors: int
    num_pairs: int

    @property
    def upper(self) -> float:
        """Return the one-sided 95 % upper limit of the rate (Clopper and Pearson 1934); 1 without pairs."""
        if self.num_errors >= self.num_pairs:
            return 1.0
        return float(beta.ppf(CONFIDENCE, self.num_errors + 1, self.num_pairs - self.num_errors))


class Threshold(_Record):
    """Rates at one threshold."""

    max_distance: float
    false_matches: Rate
    """Pairs of different people."""
    false_non_matches: Rate
    """Pairs of two videos of one person, recorded on two occasions."""
    false_non_matches_within: Rate
    """Pairs of the two halves of one video."""


class Calibration(_Record):
    """What was measured of one embedder."""

    embedder: str
    """Its name in words."""
    networks: str
    """Hash of all networks that an embedding depends on; see `networks_key`."""
    max_distance: float
    """Greatest distance of one person in two videos: the largest threshold recorded without a false match."""
    max_face_distance: float
    """Greatest distance of a face to the nearest of the faces of one person before it in a video."""
    measured_on: str
    """The labelled clips, in words."""
    thresholds: list[Threshold]
    """In ascending order."""

    def describe(self, max_distance: float) -> str | None:
        """Return in words what is known of a threshold; None if it is above all that were measured."""
        rates = self._rates_at(max_distance)
        if rates is None:
            return None
        matches, missed, within = rates.false_matches, rates.false_non_matches, rates.false_non_matches_within
        return (
            f"people were compared across sources by {self.embedder} at distance {max_distance:g}; measured "
            f"on {self.measured_on}: {matches.num_errors} of {matches.num_pairs} pairs of two people match "
            f"(at most {matches.upper:.2%} with {CONFIDENCE:.0%} confidence); of one person, "
            f"{missed.num_errors} of {missed.num_pairs} pairs of recordings and {within.num_errors} of "
            f"{within.num_pairs} pairs of halves of a video do not match"
        )

    def doubt(self, max_distance: float) -> str | None:
        """Return why people are not told apart reliably at a threshold; None if they are.

        The rate of false matches must be known to be small, for which few pairs do not suffice. Otherwise a
        calibration on two clips, or a threshold at which nobody matches, would prove anything.
        """
        rates = self._rates_at(max_distance)
        if rates is None:
            return f"its errors are not measured at distance {max_distance:g}"
        matches, within = rates.false_matches, rates.false_non_matches_within
        if matches.upper > MAX_ERROR_RATE:
            return (
                f"{matches.num_errors} of {matches.num_pairs} measured pairs of two people match at distance "
                f"{max_distance:g}, so {matches.upper:.1%} may, and at most {MAX_ERROR_RATE:.0%} are allowed"
            )
        if within.num_errors > MAX_ERROR_RATE * within.num_pairs or not within.num_pairs:
            return (
                f"{within.num_errors} of {within.num_pairs} measured pairs of halves of a video do not match "
                f"at distance {max_distance:g}, and at most {MAX_ERROR_RATE:.0%} are allowed"
            )
        return None

    def _rates_at(self, max_distance: float) -> Threshold | None:
        """Return the worse rates of the steps around a threshold; None if it is above all."""
        above = [each for each in self.thresholds if each.max_distance >= max_distance - 1e-9]
        below = [each for each in self.thresholds if each.max_distance <= max_distance + 1e-9]
        if not above or not below:
            return None
        return below[-1].model_copy(update={"false_matches": above[0].false_matches})


class Labelled(NamedTuple):
    """One person in one video of the labelled set."""

    identity: str
    recording: str
    """Videos of one recording are no pair: they prove nothing."""
    faces: NDArray[np.float32]
    """Embeddings over the whole length of the video, in order of time: [N, E]."""


def networks_key(hashes: Sequence[str]) -> str:
    """Return one hash for the hashes of all networks."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def find_calibration(networks: str, own: Path) -> Calibration | None:
    """Return the calibration of an embedder; None if there is none for exactly these networks.

    Args:
        networks: hash of its networks.
        own: a user's calibration, which takes precedence; may be missing.

    Raises:
        ValueError: the user's file is damaged.
    """
    for path in (own, *sorted(SHIPPED.glob("*.json"))):
        if not path.is_file():
            continue
        try:
            found = Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(
                f"got {path}, which is no calibration ({error}); write it again with `lia calibrate`"
            ) from None
        if found.networks == networks:
            return found
    return None


def calibrate(embedder: str, networks: str, measured_on: str, people: Sequence[Labelled]) -> Calibration:
    """Measure the rates at thresholds from 0 to 2, the greatest distance of embeddings of unit length.

    Raises:
        ValueError: no pair shows different people, or the nearest of them are as near as can be.
    """
    distances = _distances(people)
    different, same, halves, _ = distances
    if not len(different):
        raise ValueError("got no two people to compare; clips of at least two are needed; add labelled clips")
    thresholds = [
        Threshold(
            max_distance=limit,
            false_matches=_rate(different <= limit),
            false_non_matches=_rate(same > limit),
            false_non_matches_within=_rate(halves > limit),
        )
        for limit in (round(STEP * number, 2) for number in range(round(2 / STEP) + 1))
    ]
    safe = [each.max_distance for each in thresholds if not each.false_matches.num_errors]
    if len(safe) < 2:
        raise ValueError(
            f"got people at a distance of {different.min():.2f}; at least {STEP} is needed; "
            "correct the labels, or name what shows one recording in the column recording"
        )
    nearest = float(distances.nearest_faces.max(initial=0.0))
    return Calibration(
        embedder=embedder,
        networks=networks,
        max_distance=safe[-1],
        # A face may differ more from those before it than means of many do from each other.
        max_face_distance=max(safe[-1], round(STEP * np.ceil(nearest / STEP), 2)),
        measured_on=measured_on,
        thresholds=thresholds,
    )


class _Distances(NamedTuple):
    different: NDArray[np.float64]
    same: NDArray[np.float64]
    halves: NDArray[np.float64]
    nearest_faces: NDArray[np.float64]


def _distances(people: Sequence[Labelled]) -> _Distances:
    different, same = [], []
    for one, other in combinations(people, 2):
        if one.recording == other.recording:
            continue
        distance = np.linalg.norm(one.faces.mean(axis=0) - other.faces.mean(axis=0))
        (same if one.identity == other.identity else different).append(distance)
    halves, nearest = [], []
    for faces in (one.faces for one in people if len(one.faces) > 1):
        middle = len(faces) // 2
        halves.append(np.linalg.norm(faces[:middle].mean(axis=0) - faces[middle:].mean(axis=0)))
        nearest += [np.linalg.norm(faces[:end] - faces[end], axis=1).min() for end in range(1, len(faces))]
    return _Distances(*(np.array(each, np.float64) for each in (different, same, halves, nearest)))


def _rate(is_error: NDArray[np.bool_]) -> Rate:
    return Rate(num_errors=int(is_error.sum()), num_pairs=len(is_error))
