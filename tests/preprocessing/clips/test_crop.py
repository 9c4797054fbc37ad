import numpy as np
import pytest

from preprocessing.clips.crop import crop_box, known_box
from preprocessing.media.boxes import Box
from preprocessing.media.images import cut
from preprocessing.outcome import Filtered

FACE = np.array([[100.0, 60, 200, 200], [110, 60, 200, 200]])


@pytest.fixture
def settings(shards_settings):
    return shards_settings.crop


def test_one_square_fits_the_whole_clip(settings):
    square = crop_box(FACE, settings, (640, 360))
    assert square == Box(66, 46, 234, 214)


def test_square_that_leaves_the_frame_is_dropped_only_when_asked(settings):
    frame_size = (220, 360)
    assert isinstance(crop_box(FACE, settings, frame_size), Box)
    drop = settings.model_copy(update={"outside": "drop"})
    assert crop_box(FACE, drop, frame_size) == Filtered("leaves_frame")


def test_a_listed_box_scales_with_the_frame_and_must_overlap_it(settings):
    body = settings.model_copy(update={"rule": "body"})
    assert known_box(body, (100, 20, 200, 120), (640, 360), (1280, 720)) == Box(200, 40, 400, 240)
    with pytest.raises(ValueError, match="outside the video's frame of 480x360 px"):
        known_box(body, (500, 20, 600, 120), (480, 360), (480, 360))


def test_small_face_is_filtered_before_enlarging(settings):
    small = settings.model_copy(update={"min_size_px": 141})
    assert crop_box(FACE, small, (640, 360)) == Filtered("too_small")


def test_cut_at_full_size_is_the_very_pixels():
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut(image, Box(5, 6, 25, 26), 20), image[6:26, 5:25])


def test_what_lies_outside_repeats_the_edge():
    image = np.zeros((20, 20, 3), np.uint8)
    image[0] = 200
    outside = cut(image, Box(0, -20, 20, 0 + 1), 21)
    assert outside.shape == (21, 21, 3)
    assert (outside == 200).all()


def test_shrinking_averages_so_that_a_fine_pattern_turns_grey():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_allclose(cut(stripes, Box(0, 0, 64, 64), 16), 100, atol=1)


@pytest.mark.parametrize("box", [Box(70, 0, 90, 20), Box(10, 10, 10, 10), Box(-20, 0, -5, 20)])
def test_box_without_pixels_is_refused_by_name(box):
    with pytest.raises(ValueError, match="must overlap the frame"):
        cut(np.zeros((48, 64, 3), np.uint8), box, 8)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # The list's box is 40.6, 20.2, 101.4, 120.8 of a 320x180 frame; the video has 640x360.
        ("fomm_stretch", Box(81, 40, 202, 241)),
        ("csv_squared", Box(42, 40, 243, 241)),
        ("body", Box(42, 40, 243, 241)),
        ("none", Box(140, 0, 500, 360)),
    ],
)
def test_rules_that_know_their_box(settings, rule, expected):
    chosen = settings.model_copy(update={"rule": rule})
    box = known_box(chosen, (40.6, 20.2, 101.4, 120.8), (320, 180), (640, 360))
    assert crop_box(np.array([box] * 3, dtype=np.float64), chosen, (640, 360)) == expected


@pytest.mark.parametrize("rule", ["fomm_stretch", "csv_squared", "body"])
def test_rules_by_the_lists_box_need_one(settings, rule):
    with pytest.raises(ValueError, match=f"got a source without bbox; crop rule {rule}"):
        known_box(settings.model_copy(update={"rule": rule}), None, None, (640, 360))


def test_a_stretched_box_becomes_a_square_with_all_that_is_in_it():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :100] = 255
    stretched = cut(image, Box(50, 0, 150, 100), 32)
    assert stretched.shape == (32, 32, 3)
    wide = cut(image, Box(0, 0, 200, 100), 32)
    assert wide[:, :16].min() == 255
    assert wide[:, 16:].max() == 0
