"""How frames of clips are stored: each as a picture file of its own, so that any one can be read alone."""

import io
from collections.abc import Collection
from typing import NamedTuple

from PIL import Image as PillowImage

from preprocessing.media.images import Image, encode_jpeg
from preprocessing.settings import FrameFormat, ShardsSettings

ENDINGS: dict[FrameFormat, str] = {"jpeg": "jpg", "webp": "webp"}
"""Of a frame's file in a shard, without a dot."""
FRAME_ENDINGS: Collection[str] = frozenset(ENDINGS.values())


class FrameCodec(NamedTuple):
    """A picture format with its quality."""

    format: FrameFormat
    quality: int
    """1 to 100."""

    @property
    def ending(self) -> str:
        """Return the ending of a frame's file, without a dot."""
        return ENDINGS[self.format]

    def encode(self, image: Image) -> bytes:
        """Encode a uint8 RGB [H, W, 3] image; equal images give equal bytes."""
        if self.format == "jpeg":
            return encode_jpeg(image, self.quality)
        buffer = io.BytesIO()
        PillowImage.fromarray(image).save(buffer, "WEBP", quality=self.quality, method=4)
        return buffer.getvalue()


def frame_codec(settings: ShardsSettings) -> FrameCodec:
    """Return the codec that the settings choose."""
    qualities: dict[FrameFormat, int] = {"jpeg": settings.jpeg_quality, "webp": settings.webp_quality}
    return FrameCodec(settings.codec, qualities[settings.codec])


def media_type(picture: bytes) -> str:
    """Return the media type of a stored frame or thumbnail, such as `image/jpeg`."""
    return "image/webp" if picture[:4] == b"RIFF" else "image/jpeg"
