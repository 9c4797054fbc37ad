"""Images as bytes and as floats: one fixed formula in each direction, and decoding of stored frames.

Axes: B batch, T frames, H W pixels.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from preprocessing.media.boxes import middle_square

if TYPE_CHECKING:
    from PIL.Image import Image


class UndecodableImageError(ValueError):
    """An image file is damaged, or its picture is not of the size that it has to have."""


def to_float(images: UInt8[np.ndarray, "T H W 3"] | UInt8[Tensor, "T H W 3"]) -> Float[Tensor, "T 3 H W"]:
    """Convert RGB bytes to floats in [-1, 1], in channels_last and on the device of the input."""
    tensor = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images
    return to_range(tensor.permute(0, 3, 1, 2))


def to_range(images: UInt8[Tensor, ...]) -> Float[Tensor, ...]:
    """Convert bytes of any shape to floats in [-1, 1]: v / 127.5 - 1."""
    return images.float().div_(127.5).sub_(1)


def to_bytes(images: Float[Tensor, "T 3 H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Convert floats to RGB bytes, rounded and clamped: the inverse of `to_float`."""
    return to_byte_range(images).cpu().numpy()


def to_byte_range(images: Float[Tensor, "T 3 H W"]) -> UInt8[Tensor, "T H W 3"]:
    """Convert as `to_bytes`, on the device of the input."""
    scaled = images.float().add(1).mul(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1)


def decode_frame(data: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a stored frame, a JPEG or WebP file, to RGB; grey files get three equal channels."""
    from PIL import Image  # inside, so that the model alone imports without Pillow

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def decode_frame_of_size(data: bytes, size_px: int) -> UInt8[np.ndarray, "S S 3"]:
    """Decode a square stored frame as `decode_frame` does.

    Raises:
        UndecodableImageError: it does not decode, or to another size; the message is one line.
    """
    with _opened(data) as image:
        if image.size != (size_px, size_px):
            raise UndecodableImageError(f"{image.width}x{image.height} instead of {size_px}x{size_px}")
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def picture_size_px(data: bytes) -> tuple[int, int]:
    """Return width and height that the header of a stored frame states.

    Raises:
        UndecodableImageError: the header is damaged; the message is one line.
    """
    with _opened(data) as image:
        return image.size


@contextmanager
def _opened(data: bytes) -> Iterator[Image]:
    """Open an image file; damage that Pillow finds while it is open raises an UndecodableImageError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            yield image
    except UndecodableImageError:
        raise
    except UnidentifiedImageError:
        # Pillow's own text names an address in memory.
        raise UndecodableImageError("not an image") from None
    # What Pillow lets through of damaged headers.
    except (
        OSError,
        ValueError,
        SyntaxError,
        LookupError,
        TypeError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise UndecodableImageError(" ".join(str(error).split())) from None


def middle_of(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "E E 3"]:
    """Return the largest square in the middle of a picture."""
    left, top, right, bottom = (int(side) for side in middle_square((image.shape[1], image.shape[0])))
    return image[top:bottom, left:right]
