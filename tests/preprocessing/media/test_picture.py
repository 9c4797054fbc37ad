import cv2
import numpy as np
import pytest

from preprocessing.media.picture import Picture, small_size, whole_picture


def test_pixels_are_made_once_and_only_when_they_are_looked_at():
    made = []

    def make(name):
        made.append(name)
        return np.zeros((2, 2, 3), np.uint8)

    picture = Picture(lambda: make("image"), lambda: make("small"), 0)
    assert made == []
    assert picture.small is picture.small
    assert made == ["small"]
    assert picture.image is picture.image
    assert made == ["small", "image"]


@pytest.mark.parametrize(
    ("size", "wanted"), [((640, 360), (160, 90)), ((9, 1), (160, 18)), ((2000, 1), (160, 1))]
)
def test_a_small_view_has_the_aspect_of_the_picture(size, wanted):
    assert small_size(*size) == wanted


def test_the_small_view_of_known_pixels_is_their_mean():
    image = np.random.default_rng(0).integers(0, 256, (180, 320, 3), np.uint8)
    picture = whole_picture(image)
    assert picture.image is image
    np.testing.assert_array_equal(picture.small, cv2.resize(image, (160, 90), interpolation=cv2.INTER_AREA))
