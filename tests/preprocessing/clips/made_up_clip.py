"""A clip as values, a candidate or a signature: what handles them needs no video to be tested."""

import zlib
from typing import Any

import numpy as np

from preprocessing.clips.candidates import Candidate
from preprocessing.clips.recordings.signature import GRID, Signature
from preprocessing.faces.appearance import Appearance
from preprocessing.faces.sightings import Sighting
from preprocessing.faces.tracks import Tube
from preprocessing.ledger import ClipScores
from preprocessing.media.boxes import Box
from preprocessing.outcome import Kept


def make_candidate(first_frame: int = 30, num_frames: int = 20, **changes: Any) -> Candidate:
    """Return a kept candidate whose face moves by 1 px a frame to the right and grows by 2 px downwards."""
    steps = np.arange(num_frames, dtype=np.float64)[:, None]
    boxes = np.array([100.0, 50.0, 180.0, 130.0]) + steps * np.array([1.0, 0.0, 1.0, 2.0])
    luma = np.random.default_rng(first_frame).integers(0, 256, (16, 17), np.uint8)
    face = Sighting(Box(*boxes[0].tolist()), np.zeros((5, 2)), 0.9, Appearance(9.0, 99.0, luma), None)
    values: dict[str, Any] = {
        "key": f"k-whole-000-{first_frame:06d}",
        "tube": Tube(first_frame, boxes, [face], [first_frame]),
        "track": 3,
        "person": 1,
        "split": None,
        "follows": None,
        "crop": Box(-10, 20, 190, 220),
        "scores": ClipScores(mean_score=0.9, sharpness=9.0, brightness=99.0, motion=2.5),
        "outcome": Kept(),
    }
    return Candidate(**values | changes)


def make_signature(
    recording: str, start_s: float = 0.0, end_s: float = 6.0, noise: float = 0.0, person: str | None = None
) -> Signature:
    """Return the signature of a part of a made-up recording: a face that moves in its own way.

    Args:
        recording: names its movements; equal names move alike.
        start_s: beginning of the part, where its own clock starts at 0.
        end_s: end of the part.
        noise: standard deviation of the noise of an encoding; movements have about 15.
        person: names who is shown; None for a person of this recording alone.
    """
    moves = _random(recording)
    # Three ways to move, each a sum of slow waves.
    ways, speeds = moves.normal(0, 8, (3, GRID**2)), moves.uniform(1, 6, (3, 4))
    phases = moves.uniform(0, 2 * np.pi, (3, 4))
    look = _random(f"person {person or recording}").normal(0, 30, GRID**2)
    times_s = np.arange(start_s + 0.1, end_s, 0.2)
    waves = np.sin(times_s[:, None, None] * speeds + phases).sum(axis=2)
    grain = np.random.default_rng(round(1000 * (start_s + noise))).normal(0, 1, (len(times_s), GRID**2))
    looks = look + waves @ ways + noise * grain
    return Signature(times_s - start_s, np.clip(np.round(looks), -127, 127).astype(np.int8))


def _random(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))
