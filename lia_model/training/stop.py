"""Reasons that end a training run for good: a repetition would meet them again."""

from __future__ import annotations


class TrainingStopped(Exception):
    """A run that cannot go on; every rank raises it at the same step.

    The last checkpoint stands. Ray Train does not start the workers again.
    """


class NonFiniteError(TrainingStopped, FloatingPointError):
    """A loss or a gradient was infinite or not a number."""


class DamagedDataError(TrainingStopped):
    """Too many frames do not decode."""
