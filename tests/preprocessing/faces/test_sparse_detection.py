"""Sparse analysis against synthetic faces whose true boxes are known in every frame."""

import numpy as np
import pytest

from preprocessing.faces.sparse_detection import FixedBox, detect_sparsely
from preprocessing.media.boxes import Box, iou
from tests.preprocessing.faces.synthetic_video import Oracle, face_box, frames


@pytest.fixture
def settings(shards_settings):
    return shards_settings.detect.model_copy(update={"every_num_frames": 10})


@pytest.fixture
def look(settings):
    def look(place, count=101, cut_at=None):
        oracle = Oracle(place)
        return list(detect_sparsely(frames(count, cut_at), oracle, settings)), oracle

    return look


def numbers(found):
    return [analysed.number for analysed in found]


def test_a_calm_face_is_looked_for_once_in_k_frames(look):
    found, oracle = look(lambda number: [100.0])
    assert oracle.looked == numbers(found) == list(range(0, 101, 10))


def test_both_sides_of_a_hole_are_looked_at(settings):
    found = list(detect_sparsely(frames(31, hole_at=15), Oracle(lambda number: [100.0]), settings))
    assert numbers(found) == [0, 10, 14, 15, 25, 30]
    assert [analysed.number for analysed in found if analysed.starts_scene] == [15]


def test_the_last_frame_is_always_looked_at(look):
    found, _ = look(lambda number: [100.0], count=104)
    assert numbers(found)[-2:] == [100, 103]


def test_a_sudden_movement_is_looked_at_until_straight_lines_follow_it(look):
    def left(number):
        return 100.0 + 60 * np.clip((number - 33) / 4, 0, 1)

    found, oracle = look(lambda number: [left(number)])
    interpolated = np.interp(range(101), numbers(found), [analysed.faces[0].box.left for analysed in found])
    overlaps = [iou(face_box(interpolated[number]), face_box(left(number))) for number in range(101)]
    assert np.median(overlaps) > 0.95
    assert min(overlaps) > 0.7
    assert len(oracle.looked) < 20


def test_a_face_that_comes_late_is_found_within_two_frames(look):
    found, _ = look(lambda number: [100.0] if number >= 27 else [])
    first = next(analysed.number for analysed in found if analysed.faces)
    assert 27 <= first <= 28


def test_both_sides_of_a_cut_are_looked_at(look):
    found, _ = look(lambda number: [100.0 if number < 43 else 180.0], cut_at=43)
    assert [analysed.number for analysed in found if analysed.starts_scene] == [43]
    assert {42, 43} <= set(numbers(found))


def test_a_given_box_is_in_every_frame_without_points(settings):
    fixed = FixedBox(lambda size: Box(0, 0, size[0] / 2, size[1]))
    found = list(detect_sparsely(frames(21), fixed, settings))
    assert [face.box for analysed in found for face in analysed.faces] == [Box(0, 0, 160, 180)] * 3
    assert np.isnan(found[0].faces[0].points).all()
