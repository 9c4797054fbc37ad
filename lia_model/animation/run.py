"""The settings of one animation that every stage of it takes: model, batch size, progress, stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lia_model.animation.footage import Decoding
from lia_model.animation.framing import FaceCropper
from lia_model.animator import Animator

T = TypeVar("T")


class StoppedError(Exception):
    """The caller stopped the animation."""


def _never() -> bool:
    return False


def _ignore(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True)
class AnimationRun:
    """The model, how it is run, and how the caller follows and stops it."""

    animator: Animator
    cropper: FaceCropper | None
    """Detects faces; None takes the largest square in the middle of each picture. See `make_cropper`."""
    batch_size: int = 16
    """Driving frames per forward pass."""
    decoding: Decoding = field(default_factory=Decoding)
    """How videos are decoded."""
    hardware_encoding: bool = False
    """Encode the result on the GPU, which must have an encoder."""
    model: str = "unnamed"
    """URI of the model with its version, or its checkpoint's name; results are tagged with it."""
    direction_names: Callable[[], Mapping[int, str]] = dict
    """Returns the names that users gave to the model's motion directions, by number from 1."""
    progress: Callable[[int, int], None] = _ignore
    """Called after each frame with the number of frames done and the total."""
    should_stop: Callable[[], bool] = _never
    """Checked before each frame."""

    @property
    def size_px(self) -> int:
        """Return the side of the network's square images."""
        return self.animator.size_px

    def until_stopped(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items while `should_stop` is false.

        Raises:
            StoppedError: `should_stop` returned true.
        """
        for item in items:
            if self.should_stop():
                raise StoppedError
            yield item
