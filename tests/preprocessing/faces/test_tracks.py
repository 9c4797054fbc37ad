from dataclasses import replace

import numpy as np
import pytest

from preprocessing.faces.appearance import Appearance
from preprocessing.faces.miniatures import Miniatures
from preprocessing.faces.sightings import Sighting, Sightings
from preprocessing.faces.tracks import Tracker, divide_into_tubes, find_tracks, interpolate
from preprocessing.media.boxes import Box
from tests.preprocessing.faces.synthetic_video import NO_MINIATURES


@pytest.fixture
def settings(shards_settings):
    return shards_settings.track


def face(left, top=0.0, size=100.0, score=0.9, look=100, embedding=None):
    """A face that shows a ramp of brightness from `look` on, or its mirror image below zero."""
    ramp = np.tile(np.linspace(0, 150, 17, dtype=np.uint8), (16, 1))[:, :: 1 if look >= 0 else -1]
    looks = Appearance(100.0, 100.0, ramp)
    points = np.zeros((5, 2))
    return Sighting(Box(left, top, left + size, top + size), points, score, looks, embedding)


def sightings(faces, every=5, cuts=()):
    frames = list(range(0, every * len(faces), every))
    return Sightings(
        0,
        [number / 25 for number in range(frames[-1] + 1)],
        (640, 360),
        frames,
        faces,
        list(cuts),
        b"",
        NO_MINIATURES,
    )


def test_a_moving_face_is_one_track(settings):
    tracks = find_tracks(sightings([[face(10.0 * step)] for step in range(10)]), settings, 0.6)
    assert [track.frames for track in tracks] == [list(range(0, 50, 5))]


def test_two_people_never_share_a_track(settings):
    faces = [
        [face(0.0 + step), face(300.0 - step)] if step % 2 else [face(300.0 - step), face(0.0 + step)]
        for step in range(8)
    ]
    tracks = find_tracks(sightings(faces), settings, 0.6)
    assert len(tracks) == 2
    for track in tracks:
        lefts = [seen.box.left for seen in track.faces]
        assert max(lefts) - min(lefts) < 10


def test_a_track_ends_where_two_people_cross(settings):
    # They meet at 150 px, where the second is hidden behind the first in two frames.
    crossing = [[face(10.0 * step), face(300.0 - 10 * step)] for step in range(31)]
    for step in (14, 15):
        crossing[step] = crossing[step][:1]
    tracks = find_tracks(sightings(crossing), settings, 0.6)
    for track in tracks:
        lefts = [seen.box.left for seen in track.faces]
        # All the time to the right, or all the time to the left: it shows one person.
        assert lefts in (sorted(lefts), sorted(lefts, reverse=True))
        assert not track.frames[0] < 5 * 13 < 5 * 17 < track.frames[-1]
    seen = sorted(frame for track in tracks for frame in track.frames)
    assert seen == sorted(5 * step for step, faces in enumerate(crossing) for _ in faces)


def test_a_track_does_not_go_on_after_the_crossing_as_if_nothing_had_been(settings):
    still, others = face(100.0), [350.0, 300.0, 250.0, 180.0, 170.0, 180.0, 250.0, 300.0]
    tracks = find_tracks(sightings([[still, face(left)] for left in others]), settings, 0.6)
    stays = [track.frames for track in tracks if track.faces[0].box.left == 100]
    assert stays == [[0, 5, 10], [15, 20, 25], [30, 35]]


def test_two_people_side_by_side_are_one_track_each(settings):
    tracks = find_tracks(sightings([[face(0.0), face(95.0)]] * 8), settings, 0.6)
    assert [len(track.frames) for track in tracks] == [8, 8]


def test_no_track_shows_a_dissolve(settings):
    noise = np.random.default_rng(0).integers(0, 256, (2, 27, 48)).astype(float)
    shares = np.clip((np.arange(20) - 8) / 5, 0, 1)[:, None, None]
    luma = (noise[0] * (1 - shares) + noise[1] * shares).astype(np.uint8)
    miniatures = Miniatures(list(range(0, 100, 5)), (48, 27), luma.tobytes())
    seen = replace(sightings([[face(0)]] * 20), miniatures=miniatures)
    tracks = find_tracks(seen, settings, 0.6)
    assert len(tracks) == 2
    assert (tracks[0].frames[0], tracks[1].frames[-1]) == (0, 95)
    # The mixture begins after frame 40 and is complete at frame 65.
    assert 20 <= tracks[0].frames[-1] <= 40
    assert 65 <= tracks[1].frames[0] <= 85


def test_faceless_frames_do_not_end_a_track_until_the_gap_is_too_long(settings):
    short = [[face(0)], *[[]] * 4, [face(0)]]
    long = [[face(0)], *[[]] * 5, [face(0)]]
    assert len(find_tracks(sightings(short), settings, 0.6)) == 1
    assert len(find_tracks(sightings(long), settings, 0.6)) == 2


def test_no_track_crosses_a_cut(settings):
    faces = [[face(0)] for _ in range(6)]
    tracks = find_tracks(sightings(faces, cuts=[13]), settings, 0.6)
    assert [track.frames for track in tracks] == [[0, 5, 10], [15, 20, 25]]


def test_boxes_between_detections_lie_on_a_line(settings):
    (track,) = find_tracks(sightings([[face(0.0)], [face(10.0)]]), settings, 0.6)
    np.testing.assert_allclose(interpolate(track)[:, 0], [0, 2, 4, 6, 8, 10])


def test_tubes_cover_the_track_once_and_stay_near_their_first_box(settings):
    (track,) = find_tracks(sightings([[face(15.0 * step)] for step in range(30)]), settings, 0.6)
    tubes = divide_into_tubes(track, settings)
    assert len(tubes) > 1
    frames = [tube.first_frame + number for tube in tubes for number in range(len(tube.boxes))]
    assert frames == list(range(146))
    np.testing.assert_allclose(np.concatenate([tube.boxes for tube in tubes]), interpolate(track))


def test_a_tube_closes_at_its_greatest_length(settings):
    short = settings.model_copy(update={"max_num_frames": 20})
    (track,) = find_tracks(sightings([[face(0)] for _ in range(11)]), settings, 0.6)
    assert [len(tube.boxes) for tube in divide_into_tubes(track, short)] == [20, 20, 11]


def test_somebody_elses_face_in_the_same_place_starts_a_track(settings):
    """By embeddings where both have one; by looks where the track has none."""
    one, two = np.zeros(8, np.float32), np.ones(8, np.float32)
    faces = [[face(0, embedding=one)], [face(0, embedding=one)], [face(0, embedding=two)], [face(0)]]
    assert [track.frames for track in find_tracks(sightings(faces), settings, 0.6)] == [[0, 5], [10, 15]]
    faces = [[face(0)], [face(0)], [face(0, look=-1, embedding=two)], [face(0, look=-1)]]
    assert [track.frames for track in find_tracks(sightings(faces), settings, 0.6)] == [[0, 5], [10, 15]]


def test_embeddings_are_asked_for_at_powers_of_two_and_where_faces_crowd():
    tracker = Tracker(0.3, 25, 0.6)
    asked = []
    for number in range(20):
        (due,) = tracker.needs_embedding(number, [face(0)])
        asked += [number + 1] * due
        tracker.update(number, [face(0)])
    assert asked == [2, 4, 8, 16]
    assert tracker.needs_embedding(20, [face(0), face(50)]) == [True, True]
