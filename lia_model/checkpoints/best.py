"""The best generator of a run by validation: the folder `best` beside the run's checkpoints.

It has a place of its own, since checkpoints are pruned by age. How it was validated is in its provenance, and
the hashes of its files are beside them.
"""

from __future__ import annotations

import logging
import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lia_model.checkpoints.directory import read_config, write_generator
from lia_model.checkpoints.file_hashes import HASHES, verify_hashes, write_hashes
from lia_model.networks.generator import Generator
from preprocessing.storage.files import write_folder_atomically

BEST = "best"
KEY = "validation"
"""Of the record in the provenance."""

log = logging.getLogger(__name__)


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

    A score that is not a number is never the best. A best whose files have changed since is replaced, with a
    warning. One process a run may call this at a time.
    """
    best = _whole_best(root)
    is_comparable = best is not None and (best.metric, best.list_sha256) == (
        validated.metric,
        validated.list_sha256,
    )
    if math.isnan(validated.score) or (best is not None and is_comparable and best.score <= validated.score):
        return False
    with write_folder_atomically(root / BEST) as folder:
        record = {KEY: asdict(validated)}
        write_generator(folder, generator.settings, generator.state_dict(), provenance | record)
        write_hashes(folder)
    return True


def copy_best(root: Path, place: Path) -> None:
    """Copy the files of the best generator, without their hashes, to the folder `place`, which is replaced.

    Raises:
        ValueError: a file of it is missing, cut short or changed.
    """
    verify_hashes(root / BEST)
    with write_folder_atomically(place) as folder:
        shutil.copytree(root / BEST, folder, ignore=shutil.ignore_patterns(HASHES), dirs_exist_ok=True)


def _whole_best(root: Path) -> Validated | None:
    try:
        if (root / BEST).is_dir():
            verify_hashes(root / BEST)
        return read_best(root)
    except ValueError as error:
        log.warning("%s; the generator validated next takes its place", error)
        return None


def forget_best(root: Path) -> None:
    """Remove the best generator, which an earlier run in `root` left."""
    shutil.rmtree(root / BEST, ignore_errors=True)
