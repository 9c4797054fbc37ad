"""Which part of the frame becomes a clip; preprocessing and serving share it.

The rules are those of Siarohin et al. 2019 and 2021, data preparation; `CropSettings.rule` tells them. Each
gives one box for the whole clip.
"""

import math

from preprocessing.media.boxes import Box, Boxes, is_inside, middle_square, scale_box, square_around, union
from preprocessing.outcome import Filtered
from preprocessing.settings import CropSettings

RULES_BY_FACE = ("fomm_square",)
"""These follow detected faces; the others know their box without looking."""
RULES_BY_BBOX = ("fomm_stretch", "csv_squared", "body")
"""These take the box that the list of sources has, and need one."""


def known_box(
    settings: CropSettings,
    bbox: tuple[float, float, float, float] | None,
    bbox_size: tuple[int, int] | None,
    frame_size: tuple[int, int],
) -> Box:
    """Return the box that a rule takes without looking for faces, in pixels of the frame.

    Args:
        settings: a rule that is not in `RULES_BY_FACE`.
        bbox: the list's box: left, top, right, bottom in a frame of `bbox_size`.
        bbox_size: width and height.
        frame_size: (width, height) of the video.

    Raises:
        ValueError: the rule needs the list's box and there is none.
    """
    if settings.rule == "none":
        return middle_square(frame_size)
    if bbox is None or bbox_size is None:
        raise ValueError(
            f"got a source without bbox; crop rule {settings.rule} cuts out the list's box; fill bbox, width "
            "and height in data/sources.csv, or choose fomm_square or none"
        )
    return scale_box(Box(*bbox), bbox_size, frame_size)


def crop_box(boxes: Boxes, settings: CropSettings, frame_size: tuple[int, int]) -> Box | Filtered:
    """Return the clip's box in whole pixels, or why the clip is left out.

    Args:
        boxes: the face, or the known box, in every frame of the clip, [N, 4].
        settings: the rule and its limits.
        frame_size: (width, height) in pixels.
    """
    around = union(boxes)
    if max(around.width, around.height) < settings.min_size_px:
        return Filtered("too_small")
    match settings.rule:
        case "fomm_square":
            box = square_around(around, settings.scale)
        case "csv_squared" | "body":
            box = square_around(around, 1.0)
        case "none":
            box = around
        case "fomm_stretch":
            # Cut off, not rounded, as the published preparation does.
            box = Box(*(math.trunc(side) for side in around))
    if settings.outside == "drop" and not is_inside(box, frame_size):
        return Filtered("leaves_frame")
    return box
