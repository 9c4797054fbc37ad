"""What becomes of a failure of the workers: which ones end a run, and how many in a row do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from preprocessing.storage.files import is_disk_error

MAX_FAILURES = 3
"""Failures without a checkpoint between them after which a run still goes on."""


class RepeatedFailureError(RuntimeError):
    """Workers failed again and again without progress."""


class FullDiskError(RuntimeError):
    """A checkpoint could not be written."""


@dataclass
class FailureWindow:
    """Counts the failures since the last progress, however long a run lasts."""

    max_failures: int = MAX_FAILURES
    step: int = -1
    """The newest checkpoint when the last failure came."""
    count: int = 0
    has_just_failed: bool = False
    """Whether the last report was of running workers, not of workers that did not start."""

    def add(self, step: int, reason: str) -> None:
        """Count a failure.

        Args:
            step: of the newest checkpoint, 0 for none; a higher one than last time starts a new count.
            reason: one line.

        Raises:
            RepeatedFailureError: there are too many.
        """
        if step > self.step:
            self.step, self.count = step, 0
        self.count += 1
        self.has_just_failed = True
        if self.count > self.max_failures:
            raise RepeatedFailureError(
                f"the workers failed {self.count} times since step {self.step}, the last time: {reason}; "
                f"{self.max_failures} failures without a new checkpoint are allowed: remove the reason and "
                "repeat the command, which goes on from there"
            )

    def add_late_start(self, step: int, reason: str) -> None:
        """Count, as `add` does, workers that did not start in time, unless workers failed just before.

        Then it is one fault: Ray still counted the node that they were lost with.
        """
        if self.has_just_failed:
            self.has_just_failed = False
        else:
            self.add(step, reason)
            self.has_just_failed = False


def ending(failures: Mapping[int, BaseException]) -> Exception | None:
    """Return the error that ends the run at once, since a repetition would meet it again; None for none.

    Args:
        failures: what each rank raised.
    """
    for error in failures.values():
        if isinstance(error, ValueError):
            return error
        if is_disk_error(error):
            place = getattr(error, "filename", None)
            reason = f"{getattr(error, 'strerror', error)}{f': {place}' if place else ''}"
            return FullDiskError(
                f"a checkpoint could not be written ({reason}); the one before it stands: free space and "
                "repeat the command, which goes on from it"
            )
    return None


def in_one_line(failures: Mapping[int, BaseException]) -> str:
    """Return what the ranks raised, each reason once."""
    ranks: dict[str, list[str]] = {}
    for rank, error in sorted(failures.items()):
        lines = [line for line in str(error).splitlines() if line.strip()]
        ranks.setdefault(f"{type(error).__name__}: {lines[0].strip() if lines else ''}", []).append(str(rank))
    return "; ".join(f"rank {', '.join(own)}: {reason}" for reason, own in ranks.items())
