"""Candidates of made-up tracks: what decides on a clip needs no video."""

import numpy as np
import pytest

from preprocessing.clips.candidates import find_candidates
from preprocessing.faces.appearance import Appearance
from preprocessing.faces.sightings import Sighting, Sightings
from preprocessing.faces.tracks import find_tracks
from preprocessing.media.boxes import Box
from preprocessing.outcome import Filtered, Kept
from tests.preprocessing.faces.synthetic_video import NO_MINIATURES


def face(left, size=100.0, thumbnail=None):
    looks = Appearance(100.0, 100.0, np.tile(np.linspace(0, 150, 17, dtype=np.uint8), (16, 1)))
    box = Box(left, 50.0, left + size, 50.0 + size)
    return Sighting(box, np.full((5, 2), np.nan), 0.9, looks, None, thumbnail)


def candidates(faces, settings, by_time=False, person=0):
    """Return the candidates of faces seen in every fifth frame."""
    frames = list(range(0, 5 * len(faces), 5))
    sightings = Sightings(
        0,
        [number / 25 for number in range(frames[-1] + 1)],
        (640, 360),
        frames,
        faces,
        [],
        b"",
        NO_MINIATURES,
    )
    tracks = find_tracks(sightings, settings.track, 0.6)
    return find_candidates("k-whole", tracks, [person] * len(tracks), sightings, settings, by_time)


def test_a_steady_face_is_one_kept_candidate_with_its_square(shards_settings):
    (found,) = candidates([[face(200.0)] for _ in range(21)], shards_settings)
    assert (found.key, found.track, found.person, found.split) == ("k-whole-000-000000", 0, 0, None)
    assert found.outcome == Kept()
    assert found.is_kept
    assert found.crop == Box(190, 40, 310, 160)
    assert found.tube.num_frames == 101


@pytest.mark.parametrize(
    ("changes", "num_looks", "size", "reason"),
    [
        ({}, 5, 100.0, "too_short"),
        ({}, 21, 30.0, "too_small"),
        ({"outside": "drop"}, 21, 350.0, "leaves_frame"),
    ],
)
def test_a_candidate_is_filtered_by_the_first_rule_it_breaks(
    shards_settings, changes, num_looks, size, reason
):
    crop = shards_settings.crop.model_copy(update=changes)
    settings = shards_settings.model_copy(update={"crop": crop})
    (found,) = candidates([[face(200.0, size)] for _ in range(num_looks)], settings)
    assert found.outcome == Filtered(reason)
    assert (found.crop is None) == (reason != "too_short")


def test_a_source_divided_by_time_gives_two_parts_with_one_crop(shards_settings):
    quality = shards_settings.quality.model_copy(update={"min_num_frames": 10})
    settings = shards_settings.model_copy(update={"quality": quality})
    train, test = candidates([[face(200.0)] for _ in range(21)], settings, by_time=True)
    assert (train.split, test.split) == ("train", "test")
    assert train.tube.num_frames + test.tube.num_frames == 101
    assert test.tube.first_frame == train.tube.end_frame == 76
    assert train.crop == test.crop
    assert (train.follows, test.follows) == (None, train.key)


def test_the_part_after_a_filtered_one_follows_nothing(shards_settings):
    quality = shards_settings.quality.model_copy(update={"min_num_frames": 80})
    settings = shards_settings.model_copy(update={"quality": quality})
    parts = candidates([[face(200.0)] for _ in range(21)], settings, by_time=True)
    assert [part.outcome for part in parts] == [Filtered("too_short")] * 2
    assert [part.follows for part in parts] == [None, None]


def test_two_faces_are_two_tracks_with_keys_of_their_own(shards_settings):
    found = candidates([[face(50.0), face(400.0)] for _ in range(21)], shards_settings)
    assert [one.key for one in found] == ["k-whole-000-000000", "k-whole-001-000000"]


def test_thumbnails_are_those_of_the_faces_that_have_one(shards_settings):
    faces = [[face(200.0, thumbnail=b"one" if number == 3 else None)] for number in range(21)]
    (found,) = candidates(faces, shards_settings)
    assert found.thumbnails == [b"one"]
