import pytest

from lia_model.animation.framing import (
    FacePosition,
    Framing,
    choose_faces,
    follow_faces,
    framing_of,
    make_cropper,
)
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.boxes import Box
from preprocessing.shards.manifest import CropFacts

FACES = [Box(0, 0, 10, 10), Box(20, 0, 50, 30), Box(60, 0, 70, 10)]


def at(*lefts):
    return [Box(left, 40, left + 20, 60) for left in lefts]


def test_the_source_is_framed_as_the_driving_clip_is_when_it_begins():
    framing = Framing(Box(0, 0, 200, 200), (FacePosition(0, Box(50, 100, 90, 150)),))
    assert framing.around(framing.positions[0].box) == framing.square
    square = framing.around(Box(1000, 1000, 1080, 1100))
    assert square.width == square.height == 400
    face_x, face_y = Box(1000, 1000, 1080, 1100).centre
    assert (face_x - square.left, face_y - square.top) == (140, 250)


def test_motion_that_starts_later_frames_the_source_by_the_face_of_that_time():
    framing = Framing(Box(0, 0, 200, 200), (FacePosition(0, FACES[0]), FacePosition(10, FACES[1])))
    assert framing.around(FACES[1], start=9) == framing.square
    assert framing.around(FACES[0], start=4) == framing.square


def test_faces_are_chosen_by_size_or_counted_from_the_left():
    assert choose_faces(FACES, "largest") == [FACES[1]]
    assert choose_faces(FACES, "all") == FACES
    assert [choose_faces(FACES, number) for number in (1, 2, 3)] == [[face] for face in FACES]


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_face_that_is_not_there_is_refused_with_the_number_of_those_that_are(number):
    with pytest.raises(ValueError, match=f"got face {number}, but the source shows 3; faces count from 1"):
        choose_faces(FACES, number)


def test_each_chosen_face_is_followed_by_overlap_from_the_first_frame_that_shows_one():
    found = [(0, []), (5, at(10, 100)), (10, at(14, 104)), (15, at(18)), (20, at(150))]
    left, right = follow_faces(found, "all")
    assert left == [FacePosition(5, *at(10)), FacePosition(10, *at(14)), FacePosition(15, *at(18))]
    assert right == [FacePosition(5, *at(100)), FacePosition(10, *at(104))]
    assert follow_faces(found, 2) == [right]
    assert follow_faces([(0, []), (5, [])], "largest") == []


def test_one_square_has_room_for_all_places_where_the_face_is_seen():
    framing = framing_of([FacePosition(0, *at(10)), FacePosition(5, *at(30))], scale=1.5)
    assert framing.square == Box(0, 20, 60, 80)


@pytest.mark.parametrize("rule", ["fomm_square", "fomm_stretch", "csv_squared"])
def test_faces_are_cropped_for_a_model_of_faces_at_the_scale_of_its_clips(models, rule):
    crop = CropFacts(rule=rule, scale=1.7, outside="pad")
    cropper = make_cropper(crop, lambda: FaceDetector(models / "scrfd", 0.5, 64), 5)
    assert (cropper.scale, cropper.every_num_frames) == (1.7, 5)


@pytest.mark.parametrize("rule", ["body", "none"])
def test_no_detector_is_opened_for_a_model_trained_without_one(rule):
    def fail():
        raise AssertionError

    assert make_cropper(CropFacts(rule=rule, scale=1.2, outside="pad"), fail, 5) is None
