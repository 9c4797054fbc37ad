import numpy as np

from preprocessing.faces.scenes import CutDetector


def test_a_new_picture_is_a_cut_and_a_moving_one_is_not():
    picture = np.tile(np.arange(160, dtype=np.uint8), (90, 1))[:, :, None].repeat(3, 2)
    detector = CutDetector()
    moving = [detector.is_cut(np.roll(picture, step, axis=1)) for step in range(10)]
    assert not any(moving)
    assert detector.is_cut(255 - picture)
    assert not detector.is_cut(255 - picture)
