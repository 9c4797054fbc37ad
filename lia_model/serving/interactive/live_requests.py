"""Carries out the live calls: receives pictures, asks the model, keeps portraits between calls."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from starlette.datastructures import UploadFile

from lia_model.serving.access.scopes import Caller
from lia_model.serving.errors import RefusalError, bad_field
from lia_model.serving.interactive.direction_names import DirectionNames, NamesUnavailableError
from lia_model.serving.interactive.live_model import FramedPicture, LiveCalls, PictureFormat
from lia_model.serving.interactive.messages import Crop, Direction, DirectionList, Square
from lia_model.serving.interactive.portraits import Portraits
from lia_model.serving.jobs.job import new_id
from lia_model.serving.messages import Error, ModelVersion
from lia_model.serving.uploads import MediaCheck, store_upload
from preprocessing.media.boxes import Box

REACH = 3.0
"""Largest step along a direction that is offered, both ways; the paper shows as much."""
_STATUS = {"unreadable_media": 400, "no_face": 422, "no_such_face": 422, "bad_options": 422, "bad_field": 422}


class LiveTimeoutError(Exception):
    """No model answered in time."""


class LiveRequests:
    """The live calls of one service.

    Args:
        model: does the work.
        names: of the directions.
        version: the model's name and version.
        media: folder for uploads while they are looked at.
        check: looks at the content of uploads.
    """

    def __init__(
        self, model: LiveCalls, names: DirectionNames, version: ModelVersion, media: Path, check: MediaCheck
    ) -> None:
        self.version = version
        self._model = model
        self._names = names
        self._media = media
        self._check = check
        self._portraits = Portraits()

    def directions(self) -> DirectionList:
        """Return the directions; without their names if these cannot be read."""
        with _asking():
            num_directions, size_px = self._model.describe()
        try:
            names = self._names.read()
        except NamesUnavailableError:
            names = {}
        found = [
            Direction(number=number, name=names.get(number, ""), min=-REACH, max=REACH)
            for number in range(1, num_directions + 1)
        ]
        return DirectionList(model=self.version, size_px=size_px, directions=found)

    def name_direction(self, number: int, name: str) -> Direction:
        """Name a direction.

        Raises:
            RefusalError: there is no such direction, or the name cannot be stored.
        """
        with _asking():
            num_directions, _ = self._model.describe()
        if not 1 <= number <= num_directions:
            raise RefusalError(
                404, "not_found", f"there is no direction {number}; they count from 1 to {num_directions}"
            )
        try:
            self._names.set(number, name)
        except NamesUnavailableError as error:
            raise RefusalError(503, "unavailable", str(error)) from None
        return Direction(number=number, name=name, min=-REACH, max=REACH)

    def crop(self, picture: UploadFile, face: int | Literal["largest"], square: Box | None) -> Crop:
        """Return what the model sees of a picture.

        Raises:
            RefusalError: the picture cannot be read, or it does not have that face or that square.
        """
        framed = self._frame(picture, "picture", face, square)
        return Crop(
            width=framed.width_px,
            height=framed.height_px,
            rule="face" if framed.detects_faces else "middle",
            faces=[_square(box) for box in framed.faces],
            square=None if framed.square is None else _square(framed.square),
        )

    def add_portrait(
        self, caller: Caller, source: UploadFile, face: int | Literal["largest"], square: Box | None
    ) -> tuple[str, bytes]:
        """Keep the portrait that the model sees in a picture; return its id and the portrait as PNG.

        Raises:
            RefusalError: the picture cannot be read, shows no face, or does not have that face or square.
        """
        framed = self._frame(source, "source", face, square)
        if not framed.portrait:
            raise _refusal(
                Error(
                    code="no_face",
                    message="source: got no face in the picture; one must be visible: give another picture, "
                    "or a square",
                )
            )
        return self._portraits.add(framed.portrait, caller.owner), framed.portrait

    def find_portrait(self, caller: Caller, portrait_id: str) -> tuple[str, bytes]:
        """Return a kept portrait as `add_portrait` does.

        Raises:
            RefusalError: it is not kept any more, or another owner's.
        """
        picture = self._portraits.get(portrait_id, caller)
        if picture is None:
            raise RefusalError(404, "unknown_portrait", "the portrait is not kept; send source again")
        return portrait_id, picture

    def paint(self, portrait: tuple[str, bytes], weights: str | None, picture_format: PictureFormat) -> bytes:
        """Return the portrait moved by `weights`, numbers separated by commas; None does not move it.

        Raises:
            RefusalError: the weights are not one finite number a direction.
        """
        with _asking():
            steps = [0.0] * self._model.describe()[0] if weights is None else _numbers(weights)
            painted = self._model.paint(*portrait, steps, picture_format)
        if isinstance(painted, Error):
            raise _refusal(painted)
        return painted

    def _frame(
        self, picture: UploadFile, field: str, face: int | Literal["largest"], square: Box | None
    ) -> FramedPicture:
        folder = self._media / new_id()
        folder.mkdir(parents=True)
        try:
            path = folder / field
            store_upload(picture, field, path, self._check)
            with _asking():
                framed = self._model.frame(path, face, square)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(framed, Error):
            raise _refusal(framed)
        return framed


@contextmanager
def _asking() -> Iterator[None]:
    """Refuse a call that no model answers."""
    try:
        yield
    except LiveTimeoutError:
        raise RefusalError(
            503, "no_worker", "no model answers now; try again in a minute", {"Retry-After": "10"}
        ) from None


def _refusal(error: Error) -> RefusalError:
    return RefusalError(_STATUS[error.code], error.code, error.message)


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise bad_field("weights", f"got {text[:60]!r}; send numbers separated by commas") from None


def _square(box: Box) -> Square:
    return Square(left=box.left, top=box.top, right=box.right, bottom=box.bottom)
