"""Pictures as JPEG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode a uint8 RGB [H, W, 3] image with full colour resolution.

    At 4:2:0 lips and eyes of a small face lose their colour.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
