"""What rank 0 tells the run's journal: metrics as they come, a limited number of sample strips."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from lia_model.registry.runs import DAMAGED_FRAMES, VALIDATED_SOURCE_KEYS
from lia_model.settings import TrainSettings
from lia_model.training.pairs.damage import Damage
from lia_model.training.tracking.step_trace import announced
from lia_model.training.validation.validator import Validation

STRIP = "strip"
TRACE = "profile.txt"
NUM_DENSE_STRIPS = 32


@runtime_checkable
class Journal(Protocol):
    """A journal that takes everything at once and writes it soon."""

    def add_metrics(self, step: int, values: dict[str, float]) -> None:
        """Keep the metrics of `step`, each once."""

    def add_picture(self, name: str, step: int, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Keep an RGB picture of `step`."""

    def add_text(self, path: str, content: str) -> None:
        """Keep a text, which replaces an earlier one of this `path`."""

    def add_checkpoint(self, step: int) -> None:
        """Note that a checkpoint is stored."""

    def add_warning(self, content: str) -> None:
        """Note what the user should know."""

    def sync(self) -> None:
        """Return once everything so far is on disk."""


class RunLogger:
    """Passes on what training reports, without waiting; a checkpoint waits until it is on disk.

    A killed run repeats the steps since its checkpoint. The journal has all steps before it, and drops those
    that it has already.
    """

    def __init__(self, journal: Journal, strip_every_steps: int) -> None:
        self._journal = journal
        self._strip_every_steps = strip_every_steps

    def add_metrics(self, step: int, values: dict[str, float]) -> None:
        """Keep the metrics of `step`."""
        self._journal.add_metrics(step, values)

    def add_strip(self, step: int, strip: UInt8[np.ndarray, "H W 3"], name: str = STRIP) -> None:
        """Keep a sample picture, if it is one of those that are kept."""
        number, rest = divmod(step, self._strip_every_steps)
        # The last step need not be a multiple.
        if rest or is_kept(number):
            self._journal.add_picture(name, step, strip)

    def log_damage(self, damage: Damage) -> None:
        """Keep the list of frames that do not decode, replacing an earlier one."""
        frames = json.dumps(damage.counters()["damaged_frames"], indent=1) + "\n"
        self._journal.add_text(DAMAGED_FRAMES, frames)

    def add_trace(self, place: str) -> None:
        """Keep a line that says where a trace of some steps is."""
        self._journal.add_text(TRACE, announced(place) + "\n")

    def add_checkpoint(self, step: int) -> None:
        """Note that the checkpoint of `step` is stored."""
        self._journal.add_checkpoint(step)

    def commit(self) -> None:
        """Return once everything is on disk.

        Raises:
            OSError: the disk does not take it.
        """
        self._journal.sync()


def add_validation(
    journal: Journal, found: Validation, source_keys: Collection[str], settings: TrainSettings
) -> None:
    """Keep what a validation found, and its pictures if they are among those that are kept.

    Args:
        journal: of the run.
        found: by the validation.
        source_keys: of the videos that the pictures may show.
        settings: of the run.
    """
    step = found.record.step
    journal.add_metrics(step, found.metrics)
    journal.add_text(VALIDATED_SOURCE_KEYS, "".join(f"{key}\n" for key in source_keys))
    if is_kept(step // settings.validate_every_steps) or step == settings.num_steps:
        for name, picture in found.pictures.items():
            journal.add_picture(name, step, picture)


def is_kept(number: int) -> bool:
    """Return whether the strip of this number is kept: the first 32, then 16 for each doubling.

    So a run of any length has few pictures, most of them from the time when its results change fast.
    """
    return number % max(1, 2 ** (number.bit_length() - NUM_DENSE_STRIPS.bit_length() + 1)) == 0
