"""JSON bodies of the live calls."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lia_model.serving.messages import Message, ModelVersion


class Direction(Message):
    """One motion direction of the model."""

    number: Annotated[int, Field(ge=1)]
    """Counted from 1."""
    name: str
    """What a user called it; empty without a name."""
    min: float
    """Lowest step that is worth showing."""
    max: float
    """Highest step that is worth showing."""


class DirectionList(Message):
    """The motion directions of the model that answers."""

    model: ModelVersion
    """The model they belong to."""
    size_px: int
    """Side of its square pictures."""
    directions: list[Direction]
    """All of them, in order."""


class DirectionName(Message):
    """A new name of a direction."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)]
    """Kept with the model version; an empty one removes it."""


class Square(Message):
    """A rectangle in pixels of the upright picture; it may reach beyond it."""

    left: float
    """Left side."""
    top: float
    """Upper side."""
    right: float
    """Right side, exclusive."""
    bottom: float
    """Lower side, exclusive."""


class Crop(Message):
    """What the model sees of a picture, or of a video's first frame."""

    width: int
    """Of the whole picture, in pixels."""
    height: int
    """Of the whole picture, in pixels."""
    rule: Literal["face", "middle"]
    """Whether the model sees a detected face, or the middle of the picture."""
    faces: list[Square]
    """Detected faces from left to right; `face` counts them from 1."""
    square: Square | None
    """What the model sees; None if it needs a face and there is none. An animation may take a larger one with
    room for the driving clip's motion."""


class Sample(Message):
    """A clip that the server offers to try."""

    name: str
    """File name."""
    url: str
    """Where to get it."""


class SampleList(Message):
    """The clips that the server offers to try."""

    samples: list[Sample]
    """None if they were not fetched."""
