"""The model's part of the live calls: finds faces, cuts portraits, and paints them with any motion weights.

It runs where the model is loaded. What cannot be done is returned as an `Error`, since exceptions change
their class on the way from one process to another.
Axes: H W pixels, K directions.
"""

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lia_model.animation.footage import UnreadableMediaError, first_picture
from lia_model.animation.framing import FaceCropper, NoSuchFaceError, choose_faces, square_of
from lia_model.animation.options import OptionsConflictError
from lia_model.animator import Animator, Portrait
from lia_model.serving.messages import Error
from preprocessing.media.boxes import Box, middle_square, square_around
from preprocessing.media.images import cut, encode_jpeg

MAX_NUM_PORTRAITS = 16
"""Encoded portraits that are kept; each holds features of all sizes."""
JPEG_QUALITY = 92

PictureFormat = Literal["png", "jpeg"]


@dataclass(frozen=True)
class FramedPicture:
    """A picture, or the first frame of a video, and what the model sees of it."""

    width_px: int
    height_px: int
    detects_faces: bool
    """Whether the model was trained on detected faces; if not, it sees the middle of the picture."""
    faces: tuple[Box, ...]
    """From left to right."""
    square: Box | None
    """What the model sees; None if it needs a face and there is none."""
    portrait: bytes
    """The square at the model's size, as PNG; empty without one."""


@runtime_checkable
class LiveCalls(Protocol):
    """The calls of a `LiveModel`, here or in another process."""

    def describe(self) -> tuple[int, int]:
        """Return the number of directions and the side of a picture in pixels."""
        ...

    def frame(self, path: Path, face: int | Literal["largest"], square: Box | None) -> FramedPicture | Error:
        """See `LiveModel.frame`."""
        ...

    def paint(
        self, portrait_id: str, portrait: bytes, steps: Sequence[float], picture_format: PictureFormat
    ) -> bytes | Error:
        """See `LiveModel.paint`."""
        ...


class LiveModel:
    """Carries out live calls with one model; threads may call it at the same time.

    Args:
        animator: the model. Not the one that runs jobs if that one is compiled or recorded, since it works
            for one thread only.
        cropper: detects faces; None takes the middle of each picture.
    """

    def __init__(self, animator: Animator, cropper: FaceCropper | None) -> None:
        self._animator = animator
        self._cropper = cropper
        self._portraits: OrderedDict[str, Portrait] = OrderedDict()
        self._lock = threading.Lock()

    def try_out(self) -> None:
        """Compute one picture of a blank portrait; whatever the model or its device raise comes through."""
        size_px = self._animator.size_px
        portrait = self._animator.encode(np.zeros((size_px, size_px, 3), np.uint8))
        self._animator.paint(portrait, portrait.weights[0].numpy())

    def describe(self) -> tuple[int, int]:
        """Return the number of directions and the side of a picture in pixels."""
        return self._animator.generator.settings.num_directions, self._animator.size_px

    def frame(self, path: Path, face: int | Literal["largest"], square: Box | None) -> FramedPicture | Error:
        """Return the faces of a checked picture and the square that the model sees of it.

        Args:
            path: an image, or a video whose first frame counts.
            face: which face, if no square is given.
            square: part of the picture to take instead.
        """
        try:
            image = first_picture(path)
            return self._frame(image, face, square)
        except UnreadableMediaError as error:
            return Error(code="unreadable_media", message=str(error).replace(str(path), path.name))
        except NoSuchFaceError as error:
            return Error(code="no_such_face", message=str(error))
        except OptionsConflictError as error:
            return Error(code="bad_options", message=str(error))

    def paint(
        self, portrait_id: str, portrait: bytes, steps: Sequence[float], picture_format: PictureFormat
    ) -> bytes | Error:
        """Return the portrait moved by `steps` along the directions, as an encoded picture.

        Args:
            portrait_id: names the portrait, so that it is encoded by the network only once.
            portrait: PNG of the model's size, from `frame`.
            steps: one number a direction, added to the portrait's own motion weights.
            picture_format: of the answer.
        """
        num_directions, _ = self.describe()
        if len(steps) != num_directions or not all(math.isfinite(step) for step in steps):
            return Error(
                code="bad_field",
                message=f"weights: got {len(steps)} numbers; send {num_directions} finite ones, one for each "
                "direction",
            )
        with self._lock:
            encoded = self._encoded(portrait_id, portrait)
            weights = encoded.weights[0].numpy() + np.array(steps, np.float32)
            image = self._animator.paint(encoded, weights)
        return encode_jpeg(image, JPEG_QUALITY) if picture_format == "jpeg" else _encode_png(image)

    def _frame(
        self, image: UInt8[np.ndarray, "H W 3"], face: int | Literal["largest"], square: Box | None
    ) -> FramedPicture:
        height, width = image.shape[:2]
        faces: list[Box] = []
        if self._cropper is not None:
            faces = self._cropper.find(image)
        if square is not None:
            square = square_of(image, square)
        elif self._cropper is None:
            square = middle_square((width, height))
        elif faces:
            square = square_around(choose_faces(faces, face)[0], self._cropper.scale)
        portrait = b"" if square is None else _encode_png(cut(image, square, self._animator.size_px))
        return FramedPicture(width, height, self._cropper is not None, tuple(faces), square, portrait)

    def _encoded(self, portrait_id: str, portrait: bytes) -> Portrait:
        """Return the encoded portrait, from the cache if it is there."""
        if portrait_id not in self._portraits:
            with Image.open(io.BytesIO(portrait)) as opened:
                image = np.asarray(opened.convert("RGB"))
            self._portraits[portrait_id] = self._animator.encode(image)
            while len(self._portraits) > MAX_NUM_PORTRAITS:
                self._portraits.popitem(last=False)
        self._portraits.move_to_end(portrait_id)
        return self._portraits[portrait_id]


def _encode_png(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Return the picture as PNG, quickly rather than small."""
    done, encoded = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return encoded.tobytes()
