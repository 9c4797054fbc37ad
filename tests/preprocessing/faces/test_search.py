"""One pass over synthetic frames, with a detector that knows where the faces are."""

import io

import numpy as np
import pytest
from PIL import Image

from preprocessing.faces.search import find_sightings
from preprocessing.faces.tracks import Tracker
from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.picture import whole_picture
from tests.preprocessing.faces.synthetic_video import Oracle, face_box, frames


@pytest.fixture
def search(shards_settings):
    settings = shards_settings.detect.model_copy(update={"every_num_frames": 10})

    def search(place, count=101, recognizer=None, change=lambda image: image, **options):
        oracle = Oracle(place)
        video = (
            frame._replace(picture=whole_picture(change(frame.image))) for frame in frames(count, **options)
        )
        return find_sightings(video, oracle, recognizer, settings, Tracker(0.3, 25, 0.6)), oracle

    return search


def pictured(found, left):
    """Return the numbers of the frames in which the face at `left` has a thumbnail."""
    return [
        frame
        for frame, faces in zip(found.frames, found.faces, strict=True)
        if any(face.thumbnail is not None and face.box.left == left for face in faces)
    ]


def opened(data):
    return Image.open(io.BytesIO(data))


def test_every_analysed_frame_has_the_faces_that_the_detector_finds_in_it(search):
    def place(number):
        return [20.0, 200.0] if 30 <= number < 60 else [20.0] if number < 80 else []

    found, oracle = search(place)
    assert found.frames == sorted(oracle.looked)
    assert [[face.box for face in faces] for faces in found.faces] == [
        [face_box(left) for left in place(number)] for number in found.frames
    ]


def test_a_part_is_described_by_the_numbers_of_its_own_frames(search):
    found, _ = search(lambda number: [100.0], count=35, first=250)
    assert (found.first_frame, found.num_frames, found.frame_size) == (250, 35, (320, 180))
    assert (found.frames[0], found.frames[-1]) == (250, 284)


def test_the_looks_of_a_face_are_measured_where_it_is(search):
    found, _ = search(lambda number: [100.0], cut_at=50)
    levels = {
        frame: faces[0].appearance.brightness for frame, faces in zip(found.frames, found.faces, strict=True)
    }
    assert {level for frame, level in levels.items() if frame < 50} == {60.0}
    assert {level for frame, level in levels.items() if frame >= 50} == {200.0}


def test_a_recognizer_embeds_a_steady_face_seldom_and_again_after_a_cut(search):
    asked = []

    def recognize(image, face):
        asked.append(int(image[0, 0, 1]))
        return np.full(8, len(asked) / 100, np.float32)

    found, _ = search(lambda number: [100.0], recognizer=recognize)
    embedded = {
        frame: faces[0].embedding
        for frame, faces in zip(found.frames, found.faces, strict=True)
        if faces[0].embedding is not None
    }
    assert asked == list(embedded) == [10, 30, 70]
    assert [round(100 * float(embedding[0])) for embedding in embedded.values()] == [1, 2, 3]
    asked.clear()
    found, _ = search(lambda number: [100.0], recognizer=recognize, cut_at=50)
    assert found.cuts == [50]
    assert asked == [10, 30, 60, 80]


def test_without_a_recognizer_no_face_is_embedded(search):
    found, _ = search(lambda number: [100.0])
    assert {face.embedding for faces in found.faces for face in faces} == {None}


def test_a_face_has_thumbnails_often_at_first_and_then_regularly(search):
    found, _ = search(lambda number: [100.0], count=491)
    sightings = [frame // 10 + 1 for frame in pictured(found, 100.0)]
    assert sightings == [1, 2, 4, 8, 16, 32, 48]


def test_a_face_that_comes_later_has_thumbnails_from_its_first_sighting_on(search):
    found, _ = search(lambda number: [100.0, 200.0] if number >= 50 else [100.0], count=101)
    first = next(frame for frame, faces in zip(found.frames, found.faces, strict=True) if len(faces) == 2)
    assert pictured(found, 200.0)[0] == first
    assert first not in pictured(found, 100.0)


def test_a_thumbnail_shows_the_face_and_some_of_its_surroundings(search):
    def whiten_face(image):
        image[50:130, 100:180] = 250
        return image

    found, _ = search(lambda number: [100.0], change=whiten_face)
    thumbnail = np.asarray(opened(found.faces[0][0].thumbnail))
    assert thumbnail.shape == (96, 96, 3)
    # The square is 1.5 times as wide as the face.
    is_face = thumbnail[..., 0] > 150
    assert is_face[48].sum() == is_face[:, 48].sum() == 64
    assert is_face[16:80, 16:80].all()


def test_a_face_outside_the_frame_has_no_thumbnail(search):
    found, _ = search(lambda number: [700.0], count=11)
    assert {face.thumbnail for faces in found.faces for face in faces} == {None}


@pytest.mark.parametrize("count", [41, 81, 111, 301])
def test_the_still_is_a_frame_of_the_second_half(search, count):
    found, _ = search(lambda number: [], count=count, cut_at=count // 2 + 1)
    still = opened(found.still)
    assert still.size == (240, 135)
    assert still.getpixel((120, 60)) == (200, 200, 200)


def test_a_part_without_frames_is_unreadable(search):
    with pytest.raises(UnreadableVideoError, match="start_s and end_s"):
        search(lambda number: [], count=0)
