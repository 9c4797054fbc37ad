import cv2
import numpy as np
import pytest

from preprocessing.faces.miniatures import MiniatureMaker
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.media.picture import whole_picture


def miniatures(frames):
    maker = MiniatureMaker()
    for frame in frames:
        maker.add(frame)
    return maker.finish()


def grey(number, level, time_s, **options):
    return NumberedFrame(number, whole_picture(np.full((90, 160, 3), level, np.uint8)), time_s, **options)


def test_each_is_the_mean_of_the_frames_of_a_fifth_of_a_second():
    found = miniatures(grey(10 + number, 10 * number, number / 25) for number in range(13))
    assert found.first_frames == [10, 15, 20]
    assert found.size == (48, 27)
    assert found.luma.shape == (3, 27, 48)
    assert [int(image.mean()) for image in found.luma] == [20, 70, 110]


@pytest.mark.parametrize(
    ("size", "wanted"), [((160, 90), (48, 27)), ((90, 160), (27, 48)), ((9, 900), (1, 48))]
)
def test_the_longer_side_has_48_pixels(size, wanted):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    assert miniatures([NumberedFrame(0, whole_picture(image), 0.0)]).size == wanted


def test_a_hole_or_a_clock_set_back_starts_a_new_one():
    times_s = [0.0, 0.04, 0.08, 0.0, 0.04]
    found = miniatures(
        grey(number, 9, time_s, starts_segment=number == 3) for number, time_s in enumerate(times_s)
    )
    assert found.first_frames == [0, 3]


def test_a_slow_video_has_one_for_each_frame():
    assert miniatures(grey(number, 9, number / 2) for number in range(4)).first_frames == [0, 1, 2, 3]


def test_a_video_has_nearly_the_same_ones_at_another_size_and_rate():
    scene = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    wide = cv2.resize(scene, (1000, 800), interpolation=cv2.INTER_CUBIC)

    def play(fps, height, width):
        for number in range(2 * fps):
            left = round(100 + 100 * number / fps)
            view = wide[200:560, left : left + 640]
            small = cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA)
            yield NumberedFrame(number, whole_picture(small), number / fps)

    one, other = miniatures(play(25, 360, 640)), miniatures(play(24, 180, 320))
    difference = np.abs(one.luma.astype(float) - other.luma)
    assert one.size == other.size
    change = np.abs(one.luma[1:].astype(float) - one.luma[:-1])
    assert difference.mean() < 0.2 * change.mean()


def test_a_video_without_frames_has_none():
    assert (miniatures([]).first_frames, miniatures([]).luma.size) == ([], 0)
