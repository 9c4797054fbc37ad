import cv2
import numpy as np
import pytest

from preprocessing.faces.appearance import luma_change, measure_appearance
from preprocessing.media.boxes import Box


@pytest.fixture
def picture():
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    return cv2.resize(noise, (300, 300), interpolation=cv2.INTER_CUBIC)


WHOLE = Box(0, 0, 300, 300)


def test_blur_lowers_sharpness_and_keeps_brightness(picture):
    sharp, blurred = (
        measure_appearance(picture, WHOLE),
        measure_appearance(cv2.GaussianBlur(picture, (0, 0), 5), WHOLE),
    )
    assert blurred.sharpness < 0.3 * sharp.sharpness
    assert blurred.brightness == pytest.approx(sharp.brightness, abs=1)


def test_brightness_is_the_mean_luma_of_the_box_alone():
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:40, 20:40] = 200
    assert measure_appearance(image, Box(20, 20, 40, 40)).brightness == 200
    assert measure_appearance(image, Box(-50, -50, 40, 40)).brightness == pytest.approx(200 / 4)


def test_a_box_outside_the_frame_is_black(picture):
    outside = measure_appearance(picture, Box(400, 400, 500, 500))
    assert (outside.sharpness, outside.brightness, outside.luma.any()) == (0.0, 0.0, False)


def test_change_ignores_brightness_alone():
    dark = np.full((16, 17), 50, np.uint8)
    half = dark.copy()
    half[:8] += 40
    assert luma_change(dark, dark + 30) == 0.0
    assert luma_change(dark, half) == 20.0
