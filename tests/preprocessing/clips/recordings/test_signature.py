from dataclasses import replace

import cv2
import numpy as np
import pytest

from preprocessing.clips.recordings.signature import Signature, clip_signature, read_signature
from preprocessing.faces.miniatures import MiniatureMaker
from preprocessing.faces.sightings import Sightings
from preprocessing.faces.tracks import Tube
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.media.picture import whole_picture

NUM_FRAMES = 75
SIZE = (320, 180)


def view(number):
    """A face-like pattern that sways in front of a plain wall."""
    pattern = cv2.resize(
        np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8),
        (90, 90),
        interpolation=cv2.INTER_CUBIC,
    )
    image = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    left = 100 + round(12 * np.sin(number / 8))
    image[40:130, left : left + 90] = pattern
    return image


def sightings(change=lambda image: image, scale=1.0, first=0):
    maker = MiniatureMaker()
    size = (round(scale * SIZE[0]), round(scale * SIZE[1]))
    for number in range(first, NUM_FRAMES):
        image = cv2.resize(change(view(number)), size, interpolation=cv2.INTER_AREA)
        maker.add(NumberedFrame(number, whole_picture(image), number / 25))
    times_s = [number / 25 for number in range(first, NUM_FRAMES)]
    return Sightings(first, times_s, size, [], [], [], b"", maker.finish())


def tube(first=0, end=NUM_FRAMES, scale=1.0):
    box = scale * np.array([100.0, 40.0, 190.0, 130.0])
    return Tube(first, np.tile(box, (end - first, 1)), [], [])


def test_a_signature_survives_its_text():
    looks = np.random.default_rng(0).integers(-127, 128, (7, 36)).astype(np.int8)
    signature = Signature(np.arange(7) * 0.2 + 3.456, looks)
    again = read_signature(signature.to_text())
    np.testing.assert_allclose(again.times_s, signature.times_s, atol=5e-4)
    np.testing.assert_array_equal(again.looks, signature.looks)
    assert len(signature.to_text()) == 350


def test_looks_are_taken_every_fifth_of_a_second_from_the_clips_own_frames():
    signature = clip_signature(tube(7, 61), sightings())
    # Frames 5 to 9 are partly before the clip, frames 60 to 64 partly after it.
    np.testing.assert_allclose(signature.times_s, np.arange(10) * 0.2 + 0.48)
    assert signature.looks.shape == (10, 36)


def test_a_clip_shorter_than_a_look_has_none():
    signature = clip_signature(tube(7, 9), sightings())
    assert (len(signature.times_s), signature.looks.shape) == (0, (0, 36))


def test_frames_are_numbered_from_the_beginning_of_the_video():
    whole, part = clip_signature(tube(50, 75), sightings()), clip_signature(tube(50, 75), sightings(first=50))
    np.testing.assert_allclose(whole.times_s, part.times_s)
    np.testing.assert_array_equal(whole.looks, part.looks)


@pytest.mark.parametrize(
    ("change", "scale"),
    [
        (lambda image: (0.7 * image + 40).astype(np.uint8), 1.0),
        (lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8), 1.0),
        (lambda image: image[:, :, [0, 1, 1]], 1.0),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 3), 0.5),
    ],
    ids=["less contrast", "gamma", "tint", "blurred and half as large"],
)
def test_grading_and_size_hardly_change_the_looks(change, scale):
    plain = clip_signature(tube(), sightings()).looks.astype(float)
    other = clip_signature(tube(scale=scale), sightings(change, scale)).looks.astype(float)
    assert np.corrcoef(plain.ravel(), other.ravel())[0, 1] > 0.97


def test_what_moves_beside_the_face_does_not_count():
    def with_ticker(image):
        image[:, 280:] = 255 * (image[0, 0, 0] % 2)
        return image

    plain, ticked = clip_signature(tube(), sightings()), clip_signature(tube(), sightings(with_ticker))
    np.testing.assert_array_equal(plain.looks, ticked.looks)


def test_the_square_follows_the_face_slowly():
    still = clip_signature(tube(), sightings())
    shaky = tube().boxes + 8 * (-1.0) ** np.arange(NUM_FRAMES)[:, None]
    shaken = clip_signature(replace(tube(), boxes=shaky), sightings())
    assert np.corrcoef(still.looks.ravel(), shaken.looks.ravel())[0, 1] > 0.99
