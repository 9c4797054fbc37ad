"""Crop rules: which part of the frame becomes a clip, one box for the whole clip. Pure.

The rules are those of Siarohin et al. 2019 and 2021, data preparation; `CropSettings.rule` describes them.
"""

import math

from preprocessing.media.boxes import Box, Boxes, is_inside, middle_square, scale_box, square_around, union
from preprocessing.outcome import Filtered
from preprocessing.settings import CropRule, CropSettings


def finds_faces(settings: CropSettings) -> bool:
    """Return whether the rule crops around detected faces; all other rules know their box."""
    return settings.rule == "fomm_square"


def shows_faces(rule: CropRule) -> bool:
    """Return whether the rule's boxes are faces, detected or listed.

    A picture to be animated has no listed box. Its face is detected if the model was trained on faces;
    otherwise its middle square is taken.
    """
    return rule not in ("body", "none")


def known_box(
    settings: CropSettings,
    bbox: tuple[float, float, float, float] | None,
    bbox_size: tuple[int, int] | None,
    frame_size: tuple[int, int],
) -> Box:
    """Return the box of a rule that needs no face detection, in pixels of the frame.

    Args:
        settings: a rule that does not find faces.
        bbox: left, top, right, bottom as listed, in a frame of `bbox_size`.
        bbox_size: width and height.
        frame_size: (width, height) of the video.

    Raises:
        ValueError: the rule needs a listed box and the source has none, or one outside the frame.
    """
    if settings.rule == "none":
        return middle_square(frame_size)
    if bbox is None or bbox_size is None:
        raise ValueError(
            f"got a source without bbox; crop rule {settings.rule} cuts out the listed box; fill bbox, width "
            "and height in data/sources.csv, or choose fomm_square or none"
        )
    box = scale_box(Box(*bbox), bbox_size, frame_size)
    if box.left >= frame_size[0] or box.top >= frame_size[1]:
        raise ValueError(
            f"got a bbox outside the video's frame of {frame_size[0]}x{frame_size[1]} px; they must overlap; "
            "correct bbox, width and height in data/sources.csv"
        )
    return box


def crop_box(boxes: Boxes, settings: CropSettings, frame_size: tuple[int, int]) -> Box | Filtered:
    """Return the clip's crop in whole pixels, or why the clip is filtered.

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
            # Truncated, not rounded, like the published preparation.
            box = Box(*(math.trunc(side) for side in around))
    if settings.outside == "drop" and not is_inside(box, frame_size):
        return Filtered("leaves_frame")
    return box
