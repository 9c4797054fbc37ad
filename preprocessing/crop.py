"""Which square of the frame becomes a clip, and how it is cut out; preprocessing and serving share it.

Rule `fomm_square` (Siarohin et al. 2019, data preparation): one square for the whole clip, its side `scale`
times the longer side of the union of the clip's boxes. Images are uint8 RGB [H, W, 3].
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.boxes import Box, Boxes, is_inside, square_around, union
from preprocessing.outcome import Filtered
from preprocessing.settings import CropSettings

Image = NDArray[np.uint8]


def crop_box(boxes: Boxes, settings: CropSettings, frame_size: tuple[int, int]) -> Box | Filtered:
    """Return the clip's square in whole pixels, or why the clip is left out.

    Args:
        boxes: the face in every frame of the clip, [N, 4].
        settings: the rule and its limits.
        frame_size: (width, height) in pixels.
    """
    around = union(boxes)
    if max(around.width, around.height) < settings.min_size_px:
        return Filtered("too_small")
    square = square_around(around, settings.scale)
    if settings.outside == "drop" and not is_inside(square, frame_size):
        return Filtered("leaves_frame")
    return square


def cut(image: Image, box: Box, size_px: int) -> Image:
    """Return the pixels in `box` as a uint8 [size_px, size_px, 3] image.

    What lies outside the frame repeats the frame's edge (black would teach the model a hard border).
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
