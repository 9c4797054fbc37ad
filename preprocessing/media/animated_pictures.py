"""Animated GIF, WebP, PNG and AVIF files: clips, read with Pillow since FFmpeg does not read all of them."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from PIL import Image as PillowImage
from PIL import ImageSequence

from preprocessing.media.images import Image, is_picture, plain_rgb

USUAL_S = Fraction(1, 10)
"""How long browsers show a picture whose file gives it no time."""


class AnimatedPicture(NamedTuple):
    """One picture of an animation and when it is shown, in seconds."""

    image: Image
    start: Fraction
    end: Fraction


def is_animated_picture(path: Path) -> bool:
    """Return whether the file is a picture format with several pictures."""
    if not is_picture(path):
        return False
    try:
        with PillowImage.open(path) as opened:
            return bool(getattr(opened, "is_animated", False))
    except (OSError, SyntaxError, PillowImage.DecompressionBombError):
        return False


def animation_format(path: Path) -> str:
    """Return the name of the format, such as gif or webp."""
    with PillowImage.open(path) as opened:
        return str(opened.format).lower()


def read_animation(path: Path) -> Iterator[AnimatedPicture]:
    """Yield the pictures of an animation; transparency on white.

    Raises:
        OSError: it is damaged or truncated.
    """
    start = Fraction(0)
    with PillowImage.open(path) as opened:
        for frame in ImageSequence.Iterator(opened):
            image = plain_rgb(frame)
            duration = Fraction(frame.info.get("duration") or 0).limit_denominator(1000) / 1000 or USUAL_S
            yield AnimatedPicture(image, start, start + duration)
            start += duration
