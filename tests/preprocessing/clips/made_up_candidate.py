"""A candidate clip as values: what handles candidates needs no video to be tested."""

from typing import Any

import numpy as np

from preprocessing.clips.candidates import Candidate
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
        "tube": Tube(first_frame, boxes, [face]),
        "track": 3,
        "person": 1,
        "split": None,
        "follows": None,
        "crop": Box(-10, 20, 190, 220),
        "scores": ClipScores(mean_score=0.9, sharpness=9.0, brightness=99.0, motion=2.5),
        "outcome": Kept(),
    }
    return Candidate(**values | changes)
