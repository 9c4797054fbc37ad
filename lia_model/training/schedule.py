"""After which steps a run writes a checkpoint, and which checkpoints are validated."""

from __future__ import annotations

from lia_model.settings import TrainSettings


def is_validation_due(step: int, settings: TrainSettings) -> bool:
    """Return whether the weights after `step` updates are validated: at the interval and at the end."""
    every = settings.validate_every_steps
    return bool(every) and (step % every == 0 or step == settings.num_steps)


def is_checkpoint_due(step: int, settings: TrainSettings) -> bool:
    """Return whether a checkpoint is written: at its interval, at the end, and to be validated."""
    is_regular = step % settings.checkpoint_every_steps == 0 or step == settings.num_steps
    return is_regular or is_validation_due(step, settings)
