"""Sparse analysis against synthetic faces whose true boxes are known in every frame."""

import io

import numpy as np
import pytest
from PIL import Image

from preprocessing.faces.detector import Face
from preprocessing.faces.search import find_sightings
from preprocessing.faces.sightings import read_sightings, write_sightings
from preprocessing.faces.sparse_detection import FixedBox
from preprocessing.faces.tracks import Tracker, find_tracks, interpolate
from preprocessing.media.boxes import Box, iou
from preprocessing.media.numbered_frames import NumberedFrame
from preprocessing.media.video_reader import UnreadableVideoError


class Oracle:
    """Reads the frame's number from its first pixels and says where the face is; counts how often."""

    def __init__(self, place):
        self.place = place
        self.looked = []

    def detect(self, image):
        number = int(image[0, 0, 0]) * 100 + int(image[0, 0, 1])
        self.looked.append(number)
        return [
            Face(Box(left, 50, left + 80, 130), np.tile([left + 40.0, 90.0], (5, 1)), 0.9)
            for left in self.place(number)
        ]


def frames(count, cut_at=None, hole_at=None):
    for number in range(count):
        image = np.full((180, 320, 3), 60 if cut_at is None or number < cut_at else 200, np.uint8)
        image[0, 0] = (number // 100, number % 100, 0)
        yield NumberedFrame(number, image, number / 25, number == hole_at)


@pytest.fixture
def look(shards_settings):
    def look(place, count=101, recognizer=None, cut_at=None, **changes):
        oracle = Oracle(place)
        settings = shards_settings.detect.model_copy(update={"every_num_frames": 10} | changes)
        found = find_sightings(frames(count, cut_at), oracle, recognizer, settings, Tracker(0.3, 25, 0.6))
        return found, oracle

    return look


def test_a_calm_face_is_looked_for_once_in_k_frames(look):
    found, oracle = look(lambda number: [100.0])
    assert oracle.looked == found.frames == list(range(0, 101, 10))


def test_both_sides_of_a_hole_are_looked_at_and_nothing_between_them(shards_settings):
    oracle = Oracle(lambda number: [100.0])
    settings = shards_settings.detect.model_copy(update={"every_num_frames": 10})
    found = find_sightings(frames(31, hole_at=15), oracle, None, settings, Tracker(0.3, 25, 0.6))
    assert found.cuts == [15]
    assert found.frames == [0, 10, 14, 15, 25, 30]
    assert found.times_s == [number / 25 for number in range(31)]


def test_the_last_frame_is_always_looked_at(look):
    found, _ = look(lambda number: [100.0], count=104)
    assert found.frames[-2:] == [100, 103]


def test_a_sudden_movement_is_looked_at_until_straight_lines_follow_it(look, shards_settings):
    def place(number):
        return [100.0 + 60 * np.clip((number - 33) / 4, 0, 1)]

    found, oracle = look(place)
    (track,) = find_tracks(found, shards_settings.track, 0.6)
    boxes = interpolate(track)
    overlaps = [
        iou(Box(*boxes[number]), Box(place(number)[0], 50, place(number)[0] + 80, 130))
        for number in range(101)
    ]
    assert np.median(overlaps) > 0.95
    assert min(overlaps) > 0.7
    assert len(oracle.looked) < 20


def test_a_face_that_comes_late_is_found_within_two_frames(look):
    found, _ = look(lambda number: [100.0] if number >= 27 else [])
    first = next(frame for frame, faces in zip(found.frames, found.faces, strict=True) if faces)
    assert 27 <= first <= 28


def test_both_sides_of_a_cut_are_looked_at(look):
    found, _ = look(lambda number: [100.0 if number < 43 else 180.0], cut_at=43)
    assert found.cuts == [43]
    assert {42, 43} <= set(found.frames)


def test_a_recognizer_is_asked_seldom(look):
    asked = []

    def recognize(image, face):
        asked.append(face)
        return np.zeros(8, np.float32)

    found, _ = look(lambda number: [100.0], recognizer=recognize)
    assert len(asked) == 3
    assert sum(face.embedding is not None for faces in found.faces for face in faces) == 3


def test_every_face_is_pictured_at_first_and_now_and_then(look, tmp_path):
    found, _ = look(lambda number: [100.0, 200.0] if number >= 50 else [100.0], count=401)
    pictured = [
        [frame for frame, faces in zip(found.frames, found.faces, strict=True) if pictures(faces, left)]
        for left in (100.0, 200.0)
    ]
    first = next(frame for frame, faces in zip(found.frames, found.faces, strict=True) if len(faces) == 2)
    assert len(pictured[0]) == 6
    assert pictured[0][:3] == [0, 10, 30]
    assert pictured[1][0] == first
    assert len(pictured[1]) in (5, 6)
    # They are stored with the rest.
    write_sightings(tmp_path / "found.npz", "mark", found)
    again = read_sightings(tmp_path / "found.npz", "mark")
    assert again is not None
    assert again.still == found.still
    assert [[face.thumbnail for face in faces] for faces in again.faces] == [
        [face.thumbnail for face in faces] for faces in found.faces
    ]


def pictures(faces, left):
    return [face.thumbnail for face in faces if face.thumbnail is not None and face.box.left == left]


def test_a_still_shows_the_second_half(look):
    found, _ = look(lambda number: [], count=81, cut_at=41)
    image = Image.open(io.BytesIO(found.still))
    assert image.size == (240, 135)
    assert image.getpixel((120, 60)) == (200, 200, 200)


def test_a_face_outside_the_image_has_no_picture(look):
    found, _ = look(lambda number: [700.0], count=11)
    assert {face.thumbnail for faces in found.faces for face in faces} == {None}


def test_a_given_box_is_in_every_frame_without_points(shards_settings):
    settings = shards_settings.detect.model_copy(update={"every_num_frames": 10})
    fixed = FixedBox(lambda size: Box(0, 0, size[0] / 2, size[1]))
    found = find_sightings(frames(21), fixed, None, settings, Tracker(0.3, 25, 0.6))
    assert [face.box for faces in found.faces for face in faces] == [Box(0, 0, 160, 180)] * 3
    assert np.isnan(found.faces[0][0].points).all()


def test_a_part_without_frames_is_unreadable(look):
    with pytest.raises(UnreadableVideoError, match="start_s and end_s"):
        look(lambda number: [], count=0)
