"""The options of one animation request: a field added here reaches all its users.

The command line, batch rows, HTTP forms and JSON, and the stored job share this model. A field needs a type,
a default and a docstring, which is its help text everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from lia_model.settings import Mode
from preprocessing.media.boxes import Box
from preprocessing.settings import Settings


def _as_number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


FaceChoice = Annotated[Literal["largest", "all"] | Annotated[int, Field(ge=1)], BeforeValidator(_as_number)]
"""Which of a picture's faces: the largest, all of them, or the N-th from the left, counted from 1."""
MAX_FPS = 240
MAX_DENOMINATOR = 1001
"""So that 29.97 is 30000/1001, as in the standards."""
FrameRate = Literal["source"] | Annotated[float, Field(gt=0, le=MAX_FPS)]
"""The driving clip's own times, or a constant rate."""


SourceSquare = Literal["auto"] | Annotated[str, Field(pattern=r"^-?\d{1,6}:-?\d{1,6}:[1-9]\d{0,5}$")]
"""Found automatically, or LEFT:TOP:SIDE in whole pixels of the upright picture; it may reach beyond it."""


class OptionsConflictError(ValueError):
    """The options contradict each other or the files."""


class AnimationOptions(Settings):
    """How a source is animated by a driving file."""

    mode: Mode = "relative"
    """relative keeps the source's own pose at the starting frame, absolute takes the driving pose."""
    start: Literal["first", "best"] = "first"
    """Where relative motion starts: at the first driving frame, or at the one most like the source."""
    face: FaceChoice = "largest"
    """Which face of the source: largest, N (from 1, left to right), or all with paste_back."""
    paste_back: bool = False
    """Blend the result back into the whole source picture."""
    side_by_side: bool = False
    """Show source, driving clip as the model sees it, and result next to each other."""
    crop: bool = True
    """Crop as in training: to faces or, for crop rules body and none, to the middle, as false always does."""
    square: SourceSquare = "auto"
    """Part of the source to animate: auto follows crop, LEFT:TOP:SIDE is a square in pixels."""
    fps: FrameRate = "source"
    """Frames a second: source keeps the times of the driving frames; a number, such as 25, is constant."""
    strict: bool = False
    """Refuse a video that is damaged or incomplete, instead of animating what is there with a warning."""

    @property
    def output_fps(self) -> Fraction | None:
        """Return the constant rate of the result; None keeps the times of the driving clip."""
        return None if self.fps == "source" else Fraction(self.fps).limit_denominator(MAX_DENOMINATOR)

    @property
    def source_square(self) -> Box | None:
        """Return the square of the source; None finds it."""
        return None if self.square == "auto" else parse_square(self.square)

    @model_validator(mode="after")
    def _check_combination(self) -> AnimationOptions:
        if self.face == "all" and not self.paste_back:
            raise ValueError(
                "face is all without paste_back; several faces need the whole picture: add paste_back, or "
                "choose one face"
            )
        if not self.crop and self.face != "largest":
            raise ValueError(
                f"face is {self.face} without crop, but only cropping detects faces: leave out face, or crop"
            )
        if self.square != "auto" and self.face != "largest":
            raise ValueError(
                f"face is {self.face} with square {self.square}, which says itself what is animated: leave "
                "out one of them"
            )
        return self


def parse_square(text: str) -> Box:
    """Return the square that LEFT:TOP:SIDE names.

    Raises:
        ValueError: the text does not have that form.
    """
    left, top, side = (int(number) for number in TypeAdapter(SourceSquare).validate_python(text).split(":"))
    return Box(left, top, left + side, top + side)


def read_options(values: dict[str, Any]) -> AnimationOptions:
    """Return the options that a user wrote; text is converted, and what is left out has its default.

    Raises:
        ValueError: one line that names the first wrong field, the value and what is allowed.
    """
    try:
        return AnimationOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            known = ", ".join(AnimationOptions.model_fields)
            raise ValueError(
                f"got option {first['loc'][0]!r}, which does not exist; the options are {known}"
            ) from None
        if not first["loc"]:
            raise ValueError(str(first["msg"]).removeprefix("Value error, ")) from None
        field = str(first["loc"][0])
        raise ValueError(f"{field} is {values[field]!r}; {allowed_values(field)}") from None


def allowed_values(field: str) -> str:
    """Return in words what a field of the options takes."""
    words = list(_choices(AnimationOptions.model_fields[field].annotation))
    separator = ", or " if words[2:] else " or "
    return f"it is {', '.join(words[:-1])}{separator}{words[-1]}" if words[1:] else f"it is a {words[0]}"


def _choices(kind: object) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    elif kind is bool:
        yield from ("true", "false")
    elif get_args(kind):
        for inner in get_args(kind):
            yield from _choices(inner)
    elif kind is int:
        yield "a number from 1"
    elif kind is float:
        yield f"a number above 0 and up to {MAX_FPS}"
    elif kind is str:
        yield "LEFT:TOP:SIDE in pixels"
    elif isinstance(kind, type):
        yield kind.__name__
