"""Still pictures, uint8 RGB [H, W, 3]: reading files, encoding JPEG, cutting squares out of frames."""

import io
import logging
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps

from preprocessing.media.boxes import Box

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
OPAQUE = 255
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH_AT = 24
"""Offset of the depth in the header, behind width and height of four bytes each."""
_DEEP_MODES = ("I",)
"""Prefix of Pillow's modes for 16-bit grey."""
_PICTURE_STARTS = (b"\xff\xd8\xff", _PNG_START, b"BM", b"GIF87a", b"GIF89a")
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"))
_ANY_HEIF_BRANDS = frozenset((b"mif1", b"msf1"))
"""Of a picture and of a sequence whose codec only the compatible brands tell."""
_NUM_HEAD_BYTES = 256
MAX_PIXELS = 100_000_000
"""Larger pictures are refused, but for JPEG files, which can be reduced while they are decoded."""
REDUCED_PIXELS = 50_000_000
"""Larger JPEG files are reduced to at most so many pixels."""


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode a uint8 RGB [H, W, 3] image with full colour resolution.

    At 4:2:0, lips and eyes of a small face lose their colour.
    """
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def cut(image: Image, box: Box, size_px: int) -> Image:
    """Return the pixels in `box` as a uint8 [size_px, size_px, 3] image.

    A box that is not square is stretched. Outside the frame, its edge pixels are repeated (black would teach
    the model a hard border). Shrinking averages areas to avoid aliasing; enlarging is bicubic. Sides of `box`
    are rounded to whole pixels.

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


def is_picture(path: Path) -> bool:
    """Return whether the first bytes are those of a picture format: JPEG, PNG, WebP, AVIF, GIF or BMP."""
    with path.open("rb") as file:
        head = file.read(_NUM_HEAD_BYTES)
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(_PICTURE_STARTS) or is_webp or bool(_brands(head) & _AVIF_BRANDS)


def is_heic(path: Path) -> bool:
    """Return whether the first bytes are those of a HEIC picture or sequence, which nothing here reads."""
    with path.open("rb") as file:
        return bool(_brands(file.read(_NUM_HEAD_BYTES)) & _HEIC_BRANDS)


def picture_header(path: Path) -> tuple[str, int, int]:
    """Return format, such as JPEG, width and height in pixels, as the header says; no pixel is decoded.

    Raises:
        ValueError: the file is no image.
    """
    PillowImage.MAX_IMAGE_PIXELS = None
    try:
        with PillowImage.open(path) as image:
            return str(image.format), *image.size
    except (OSError, SyntaxError) as error:
        raise _not_readable(path) from error


def _brands(head: bytes) -> set[bytes]:
    """Return the brands that say what an ISO file is: its major one, or where that is general, the others."""
    if head[4:8] != b"ftyp":
        return set()
    major, box = head[8:12], head[16 : int.from_bytes(head[:4])]
    if major not in _ANY_HEIF_BRANDS:
        return {major}
    return {box[at : at + 4] for at in range(0, len(box), 4)}


def read_image(path: Path, convert: bool = True, losses: list[str] | None = None) -> Image:
    """Return a still image as upright uint8 RGB [H, W, 3]; of an animated one, the first picture.

    Args:
        path: any file that Pillow reads. One that its EXIF data turns is turned; grey and palette images are
            accepted, and an alpha channel that is opaque everywhere.
        convert: convert it to 8-bit RGB even if that loses something: transparency on white, the upper 8 of
            16 bits, CMYK without a colour profile. False refuses such an image.
        losses: gets, in words, what such a conversion has lost.

    Raises:
        ValueError: the file is no image, is too large, or needs a conversion that `convert` forbids.
    """
    # Our own limits tell the true reason, and let large JPEG files pass.
    PillowImage.MAX_IMAGE_PIXELS = None
    try:
        with PillowImage.open(path) as image:
            _limit_pixels(image, path)
            odd = oddities(image, path)
            if odd and not convert:
                raise ValueError(
                    f"got {path} with {' and '.join(odd)}; a picture in 8-bit RGB or grey is needed; convert "
                    "it, or ask for conversion (--convert)"
                )
            if losses is not None:
                losses.extend(odd)
            return plain_rgb(image)
    # Pillow raises SyntaxError for a broken PNG chunk.
    except (OSError, SyntaxError) as error:
        raise _not_readable(path) from error


def _not_readable(path: Path) -> ValueError:
    return ValueError(f"got {path}, which is not a readable image; give a JPEG, PNG or WebP file")


def oddities(image: PillowImage.Image, path: Path) -> list[str]:
    """Return, in words, all that an opened image loses as 8-bit RGB."""
    found = {
        "an alpha channel": _is_transparent(image),
        "16 bits a channel": image.mode.startswith(_DEEP_MODES) or _is_deep_png(path),
        "CMYK colours": image.mode == "CMYK",
    }
    return [words for words, is_so in found.items() if is_so]


def _limit_pixels(image: PillowImage.Image, path: Path) -> None:
    """Have a large JPEG file decoded at a half, a quarter or an eighth of its size; refuse others."""
    width, height = image.size
    if image.format == "JPEG" and width * height > REDUCED_PIXELS:
        scale = (REDUCED_PIXELS / (width * height)) ** 0.5
        # The result has at least the size asked for, at the next power of two.
        divisor = next((n for n in (2, 4, 8) if 1 / n <= scale), 8)
        image.draft("RGB", (-(-width // divisor), -(-height // divisor)))
        logger.info("%s of %dx%d px is read at 1/%d of its size", path.name, width, height, divisor)
    elif width * height > MAX_PIXELS:
        raise ValueError(
            f"got {path} of {width}x{height} px; at most {MAX_PIXELS // 1_000_000} million pixels are read, "
            "more of JPEG files: make it smaller"
        )


def _is_transparent(image: PillowImage.Image) -> bool:
    if not image.has_transparency_data:
        return False
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return lowest != OPAQUE


def plain_rgb(image: PillowImage.Image) -> Image:
    """Return an opened image as upright 8-bit RGB: transparency on white, the upper 8 of 16 bits."""
    return np.asarray(_plain_rgb(image))


def _plain_rgb(image: PillowImage.Image) -> PillowImage.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(_DEEP_MODES):
        # Pillow would clip at 255. For 16-bit colour it has already kept the upper byte only.
        return PillowImage.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert("RGB")
    if upright.has_transparency_data:
        colours = upright.convert("RGBA")
        white = PillowImage.new("RGBA", colours.size, "white")
        return PillowImage.alpha_composite(white, colours).convert("RGB")
    return upright.convert("RGB")


def png_format(path: Path) -> bytes | None:
    """Return width, height, depth and colour type from a PNG's header; None for another kind of file."""
    with path.open("rb") as file:
        head = file.read(_PNG_DEPTH_AT + 2)
    return head[_PNG_DEPTH_AT - 8 :] if head.startswith(_PNG_START) else None


def _is_deep_png(path: Path) -> bool:
    """Tell whether a PNG has 16 bits a channel; Pillow opens one in colour as if it had 8."""
    png = png_format(path)
    return png is not None and png[8:9] == b"\x10"
