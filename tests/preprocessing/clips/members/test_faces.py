import json
from dataclasses import replace

import numpy as np
import pytest

from preprocessing.clips.members.faces import ClipFaces, clip_faces, frame_yaws
from preprocessing.faces.tracks import Track, divide_at, divide_into_tubes
from preprocessing.media.boxes import Box
from tests.preprocessing.clips.made_up_clip import make_candidate

# The tip of the nose moves to the image's right as the head turns there.
AHEAD = np.array([(-0.5, 0), (0.5, 0), (0, 0.6), (-0.4, 1.1), (0.4, 1.1)]) * 50
TURNED = AHEAD + np.array([(0, 0), (0, 0), (20, 0), (0, 0), (0, 0)])
CROP = Box(20, -10, 220, 190)


def sighting(points, left=0.0, score=0.9):
    face = make_candidate().tube.faces[0]
    return face._replace(points=points, box=Box(left, 10, left + 100, 130), score=score)


def undivided(settings):
    return settings.track.model_copy(update={"close_iou": 0.0})


@pytest.fixture
def track():
    """A face that moves by 4 px a frame to the right, detected in every tenth frame."""
    frames = [30, 40, 50]
    faces = [
        sighting(AHEAD + np.array([4 * n, 0]), left=4.0 * n, score=score)
        for n, score in zip((0, 10, 20), (0.8, 0.9, 0.7), strict=True)
    ]
    return Track(frames, faces)


@pytest.fixture
def tube(track, shards_settings):
    (tube,) = divide_into_tubes(track, undivided(shards_settings))
    return tube


def test_detected_frames_hold_what_was_detected_and_the_others_lie_between(tube, track):
    faces = clip_faces(tube, CROP, 200)
    assert [not one for one in faces.interpolated] == [number % 10 == 0 for number in range(21)]
    for number, seen in ((0, track.faces[0]), (10, track.faces[1]), (20, track.faces[2])):
        left, top, right, bottom = seen.box
        assert faces.box[number] == (left - 20, top + 10, right - 20, bottom + 10)
        assert faces.points[number] == [(x - 20, y + 10) for x, y in seen.points.tolist()]
        assert faces.score[number] == seen.score
    assert faces.points[5][0][0] == pytest.approx((faces.points[0][0][0] + faces.points[10][0][0]) / 2)
    assert faces.score[5] == pytest.approx(0.85)


@pytest.mark.parametrize(("crop", "across", "down"), [(CROP, 0.5, 0.5), (Box(20, -10, 70, 190), 2.0, 0.5)])
def test_lengths_are_pixels_of_the_stored_frames_also_where_these_are_stretched(tube, crop, across, down):
    faces = clip_faces(tube, crop, 100)
    assert faces.size_px == 100
    assert faces.box[0] == (across * (0 - 20), down * (10 + 10), across * (100 - 20), down * (130 + 10))
    eye = AHEAD[0]
    assert faces.points[0][0] == (across * (eye[0] - 20), down * (eye[1] + 10))


def test_points_stay_on_the_face_where_a_track_is_divided(track, tube):
    whole = clip_faces(tube, CROP, 200)
    first, second = (clip_faces(part, CROP, 200) for part in divide_at(track, tube, 37))
    assert [*first.points, *second.points] == whole.points
    assert [*first.box, *second.box] == whole.box
    assert [*first.interpolated, *second.interpolated] == whole.interpolated
    # No frame of this part was looked at; it lies between two that were.
    _, late = divide_at(track, tube, 41)
    early = clip_faces(divide_at(track, late, 49)[0], CROP, 200)
    assert all(early.interpolated)
    assert early.points == whole.points[11:19]


def test_equal_faces_give_equal_json_with_one_item_a_frame(tube):
    one, other = (clip_faces(tube, CROP, 64).to_json() for _ in range(2))
    assert one == other
    values = json.loads(one)
    assert values.pop("size_px") == 64
    assert {name: len(items) for name, items in values.items()} == dict.fromkeys(values, 21)
    assert ClipFaces.model_validate_json(one) == clip_faces(tube, CROP, 64)


def test_the_pose_says_where_the_head_turns(track, shards_settings):
    turning = Track(track.frames, [sighting(AHEAD), sighting(TURNED), sighting(TURNED)])
    (tube,) = divide_into_tubes(turning, undivided(shards_settings))
    faces = clip_faces(tube, CROP, 64)
    assert faces.yaw_deg[0] == pytest.approx(0, abs=1)
    assert faces.yaw_deg[10] == faces.yaw_deg[20] > 15
    assert faces.roll_deg[10] == pytest.approx(faces.roll_deg[0], abs=3)
    assert faces.yaw_deg == frame_yaws(tube)


def test_a_given_box_has_no_face(tube):
    given = [face._replace(points=np.full((5, 2), np.nan)) for face in tube.faces]
    assert clip_faces(replace(tube, faces=given), CROP, 64) is None


def test_yaw_is_measured_where_faces_are_detected_and_interpolated_between():
    tube = make_candidate(30, 11).tube
    # The tip of the nose moves to the image's right as the head turns there.
    ahead = np.array([(-0.5, 0), (0.5, 0), (0, 0.6), (-0.4, 1.1), (0.4, 1.1)]) * 50
    turned = ahead + np.array([(0, 0), (0, 0), (20, 0), (0, 0), (0, 0)])
    faces = [tube.faces[0]._replace(points=points) for points in (ahead, turned, turned)]
    yaws = frame_yaws(replace(tube, faces=faces, face_frames=[30, 34, 99]))
    assert len(yaws) == 11
    assert yaws[0] == pytest.approx(0, abs=1)
    assert yaws[4] > 15
    assert yaws[2] == pytest.approx((yaws[0] + yaws[4]) / 2, abs=0.1)
    assert yaws[4:] == [yaws[4]] * 7


def test_a_clip_without_a_detection_of_its_own_has_no_yaw():
    tube = make_candidate(30, 11).tube
    assert frame_yaws(replace(tube, face_frames=[99])) is None
    unknown = tube.faces[0]._replace(points=np.full((5, 2), np.nan))
    assert frame_yaws(replace(tube, faces=[unknown])) is None
