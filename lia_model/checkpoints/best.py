"""The best generator of a run by validation: the folder `best` beside the run's checkpoints.

It has a place of its own, since checkpoints are pruned by age; how it was validated is in its provenance.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lia_model.checkpoints.directory import read_config, save_generator
from lia_model.networks.generator import Generator

BEST = "best"
KEY = "validation"
"""Of the record in the provenance."""


@dataclass(frozen=True)
class Validated:
    """How a generator did on the held-out pairs."""

    step: int
    """Updates made before it."""
    metric: str
    score: float
    """Value of `metric`; smaller is better."""
    list_sha256: str
    """Hash of the list of pairs; scores on other lists cannot be compared with it."""


def read_best(root: Path) -> Validated | None:
    """Return the record of the best generator of the run in `root`, or None if none was validated."""
    if not (root / BEST).is_dir():
        return None
    return Validated(**read_config(root / BEST).provenance[KEY])


def keep_if_best(root: Path, generator: Generator, provenance: dict[str, Any], validated: Validated) -> bool:
    """Write a generator as the best of its run if its score is the best so far; return whether it is.

    A score that is not a number is never the best. One process a run may call this at a time.
    """
    best = read_best(root)
    is_comparable = best is not None and (best.metric, best.list_sha256) == (
        validated.metric,
        validated.list_sha256,
    )
    if math.isnan(validated.score) or (best is not None and is_comparable and best.score <= validated.score):
        return False
    save_generator(root / BEST, generator, provenance | {KEY: asdict(validated)})
    return True


def forget_best(root: Path) -> None:
    """Remove the best generator, which an earlier run in `root` left."""
    shutil.rmtree(root / BEST, ignore_errors=True)
