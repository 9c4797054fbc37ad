import io

import numpy as np
from PIL import Image

from preprocessing.media.images import encode_jpeg


def test_colours_keep_their_full_resolution():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2] = (255, 0, 0)
    image[:, 1::2] = (0, 0, 255)
    back = np.asarray(Image.open(io.BytesIO(encode_jpeg(image, 95)))).astype(int)
    assert np.abs(back - image).max() < 30
