"""Still pictures, uint8 RGB [H, W, 3]: squares cut out of frames, and JPEG files."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from preprocessing.media.boxes import Box

Image = NDArray[np.uint8]


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode a uint8 RGB [H, W, 3] image with full colour resolution.

    At 4:2:0 lips and eyes of a small face lose their colour.
    """
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def cut(image: Image, box: Box, size_px: int) -> Image:
    """Return the pixels in `box` as a uint8 [size_px, size_px, 3] image.

    A box that is no square is stretched to one. What lies outside the frame repeats the frame's edge (black
    would teach the model a hard border).
    Shrinking averages areas, so that nothing aliases; enlarging is cubic. Fractions of pixels in `box` are
    rounded.

    Raises:
        ValueError: the box is empty or lies wholly outside the frame.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = (round(side) for side in box)
    inner = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if inner.size == 0:
        raise ValueError(
            f"got crop box {tuple(box)} for a frame of {width}x{height} px; "
            "it must overlap the frame; take it from crop_box"
        )
    padding = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    if any(padding):
        inner = cv2.copyMakeBorder(inner, *padding, borderType=cv2.BORDER_REPLICATE)
    is_smaller = size_px < max(inner.shape[:2])
    interpolation = cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC
    resized = cv2.resize(inner, (size_px, size_px), interpolation=interpolation)
    return np.ascontiguousarray(resized, dtype=np.uint8)
