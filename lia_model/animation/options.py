"""The options of one animation request: a field added here reaches all its users.

The command line, batch rows, HTTP forms and JSON, and the stored job share this model. A field needs a type,
a default and a docstring, which is its help text everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from lia_model.settings import Mode
from preprocessing.media.boxes import Box
from preprocessing.settings import Settings


def _as_number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


@dataclass(frozen=True)
class _Words:
    """Part of a field's type: what it takes, in words."""

    text: str


FaceChoice = Annotated[
    Literal["largest", "all"] | Annotated[int, Field(ge=1), _Words("a number from 1")],
    BeforeValidator(_as_number),
]
"""Which of a picture's faces: the largest, all of them, or the N-th from the left, counted from 1."""
MAX_FPS = 240
MAX_DENOMINATOR = 1001
"""So that 29.97 is 30000/1001, as in the standards."""
FrameRate = (
    Literal["source"]
    | Annotated[float, Field(gt=0, le=MAX_FPS), _Words(f"a number above 0 and up to {MAX_FPS}")]
)
"""The driving clip's own times, or a constant rate."""


SourceSquare = (
    Literal["auto"]
    | Annotated[str, Field(pattern=r"^-?\d{1,6}:-?\d{1,6}:[1-9]\d{0,5}$"), _Words("LEFT:TOP:SIDE in pixels")]
)
"""Found automatically, or LEFT:TOP:SIDE in whole pixels of the upright picture; it may reach beyond it."""
MIN_SIZE_PX, MAX_SIZE_PX = 16, 2048
MAX_WIDTH_PX = 8192
"""Of a wide picture at that height."""
SizeChoice = Annotated[
    Literal["auto"]
    | Annotated[
        int, Field(ge=MIN_SIZE_PX, le=MAX_SIZE_PX), _Words(f"a number from {MIN_SIZE_PX} to {MAX_SIZE_PX}")
    ],
    BeforeValidator(_as_number),
]
"""The model's size, or a number of pixels."""
_Directions = Annotated[
    str, Field(pattern=r"^[^,]{1,60}(,[^,]{1,60})*$"), _Words("numbers from 1 or names, separated by commas")
]


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
    size_px: SizeChoice = "auto"
    """Height of the result in pixels, up to 2048: auto is the model's, or with paste_back the source's."""
    directions: Literal["all"] | _Directions = "all"
    """Motion directions that follow the driving clip: all, or numbers from 1 or names, such as 1,4,smile."""
    exclude_directions: Literal["none"] | _Directions = "none"
    """Motion directions that keep the source's own pose: none, or numbers from 1 or names."""
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

    def result_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Return width and height of the result, made from pictures of this size.

        Raises:
            OptionsConflictError: it would be too wide.
        """
        if self.size_px == "auto":
            return width_px, height_px
        width = max(1, round(width_px * self.size_px / height_px))
        if width > MAX_WIDTH_PX:
            raise OptionsConflictError(
                f"got size_px {self.size_px} for pictures of {width_px}x{height_px} px, which would be "
                f"{width} px wide; at most {MAX_WIDTH_PX} are allowed: choose a smaller size_px"
            )
        return width, self.size_px

    def following(
        self, num_directions: int, names: Callable[[], Mapping[int, str]]
    ) -> tuple[bool, ...] | None:
        """Return for each direction of the model whether it follows the driving clip; None if all do.

        Args:
            num_directions: of the model.
            names: returns the names of its directions by number, from 1; called only if the options have one.

        Raises:
            OptionsConflictError: the model has no such direction, or none is left.
        """
        if self.directions == "all" and self.exclude_directions == "none":
            return None
        taken, left = range(1, num_directions + 1), ()
        if self.directions != "all":
            taken = _numbers("directions", self.directions, num_directions, names)
        if self.exclude_directions != "none":
            left = _numbers("exclude_directions", self.exclude_directions, num_directions, names)
        follows = tuple(number in taken and number not in left for number in range(1, num_directions + 1))
        if not any(follows):
            raise OptionsConflictError(
                f"directions {self.directions} without {self.exclude_directions} leaves none that moves: "
                "exclude fewer"
            )
        return follows

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


def _numbers(field: str, text: str, num_directions: int, names: Callable[[], Mapping[int, str]]) -> set[int]:
    words = [word.strip() for word in text.split(",")]
    by_name: dict[str, int] = {}
    if not all(map(str.isdecimal, words)):
        by_name = {name.casefold(): number for number, name in names().items()}
    found: set[int] = set()
    for word in words:
        number = int(word) if word.isdecimal() else by_name.get(word.casefold(), 0)
        if not 1 <= number <= num_directions:
            known = f" and {', '.join(sorted(by_name))}" if by_name else ""
            raise OptionsConflictError(
                f"{field} has {word!r}, but the model's directions are 1 to {num_directions}{known}: choose "
                "from these"
            )
        found.add(number)
    return found


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
    if words := [one.text for one in getattr(kind, "__metadata__", ()) if isinstance(one, _Words)]:
        yield from words
    elif get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    elif kind is bool:
        yield from ("true", "false")
    else:
        for inner in get_args(kind):
            yield from _choices(inner)
