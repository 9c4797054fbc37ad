"""Composes pictures: a result blended back into its photo, and pictures side by side. Pure.

Images are uint8 RGB [H, W, 3]; sides of a box are rounded as `media.images.cut` does.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from preprocessing.media.boxes import Box

FEATHER = 1 / 8
"""Width of the soft edge, as a fraction of the square's side."""


def feather_mask(height_px: int, width_px: int) -> Float32[np.ndarray, "H W"]:
    """Return the opacity of a pasted picture: 0 on its border, rising smoothly to 1 inside."""
    return _ramp(height_px)[:, None] * _ramp(width_px)[None, :]


def paste(
    picture: UInt8[np.ndarray, "H W 3"], patch: UInt8[np.ndarray, "H2 W2 3"], box: Box
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a copy of `picture` with `patch` in `box`, its edge feathered; parts outside are cut off."""
    left, top, right, bottom = (round(side) for side in box)
    mask = feather_mask(bottom - top, right - left)
    patch = resize(patch, right - left, bottom - top)
    height, width = picture.shape[:2]
    rows = slice(max(top, 0), max(min(bottom, height), 0))
    columns = slice(max(left, 0), max(min(right, width), 0))
    inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    share = mask[inside][..., None]
    pasted = picture.copy()
    blend = patch[inside] * share + picture[rows, columns] * (1 - share)
    pasted[rows, columns] = np.rint(blend).astype(np.uint8)
    return pasted


def side_by_side(images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "H W 3"]:
    """Return the images in a row, each scaled to the height of the last one."""
    height = images[-1].shape[0]
    return np.concatenate(
        [resize(image, round(image.shape[1] * height / image.shape[0]), height) for image in images], axis=1
    )


def resize(image: UInt8[np.ndarray, "H W 3"], width_px: int, height_px: int) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Return the image at another size: shrinking averages areas, enlarging is bicubic."""
    if image.shape[:2] == (height_px, width_px):
        return image
    is_smaller = width_px < image.shape[1]
    interpolation = cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=interpolation), dtype=np.uint8)


def _ramp(side_px: int) -> Float32[np.ndarray, " N"]:
    """Return a smoothstep from 0 at both ends to 1 at `FEATHER` of the side inwards."""
    position = np.arange(side_px, dtype=np.float32)
    depth = np.minimum(position, position[::-1]) / max(FEATHER * side_px, 1)
    depth = np.minimum(depth, 1)
    return (depth * depth * (3 - 2 * depth)).astype(np.float32)
