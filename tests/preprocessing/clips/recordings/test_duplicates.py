import hashlib
from itertools import islice

import cv2
import numpy as np
import pytest

from preprocessing.clips.recordings import duplicates
from preprocessing.clips.recordings.duplicates import find_duplicates, similarity
from preprocessing.clips.recordings.signature import Signature
from preprocessing.clips.source_run import SourceTask, process_source
from preprocessing.clips.splitting.assignment import assign
from preprocessing.media.video_reader import decode
from tests.preprocessing.clips.made_up_clip import make_signature
from tests.preprocessing.clips.written_video import write_video

LEAST = 0.6


def found(signatures, **videos):
    return find_duplicates(signatures, {key: key for key in signatures} | videos, LEAST)


@pytest.mark.parametrize("start_s", [0.0, 0.2, 0.37, 1.0])
@pytest.mark.parametrize("end_s", [6.0, 5.03])
def test_a_trimmed_copy_is_a_duplicate_of_the_clip_before_it(start_s, end_s):
    copy = make_signature("nods", start_s, end_s, noise=2)
    assert found({"b": make_signature("nods"), "a": copy, "c": make_signature("turns")}) == {"a": "b"}


@pytest.mark.parametrize("shift_s", [-2.3, -0.5, 0.0, 0.8, 2.6])
def test_similarity_is_that_of_the_best_offset_in_either_direction(shift_s):
    one, other = make_signature("nods", 3, 8), make_signature("nods", 3 + shift_s, 8 + shift_s)
    assert similarity(one, other) > 0.75
    assert similarity(other, one) == pytest.approx(similarity(one, other), abs=0.02)


def test_one_person_who_moves_otherwise_in_one_place_is_no_duplicate():
    clips = {str(number): make_signature(f"moves {number}", person="a") for number in range(40)}
    assert found(clips) == {}


def test_two_people_who_move_alike_are_no_duplicates():
    one, other = (make_signature("nods", person=person) for person in "ab")
    assert similarity(one, one) > 0.9
    assert similarity(one, other) == 0.0


def test_clips_with_less_than_a_second_in_common_are_not_compared():
    whole = make_signature("nods")
    assert similarity(whole, make_signature("nods", 1, 2)) == 0.0
    assert similarity(whole, make_signature("nods", 1, 3)) > 0.7


def test_clips_of_one_video_are_never_duplicates():
    clip = make_signature("nods")
    assert found({"a": clip, "b": clip}) == {"b": "a"}
    assert found({"a": clip, "b": clip}, b="a") == {}


def test_a_third_copy_names_the_one_that_stays():
    clips = {key: make_signature("nods", noise=noise) for noise, key in enumerate("abc")}
    assert found(clips) == {"b": "a", "c": "a"}


def test_pictures_in_which_nothing_moves_and_clips_without_looks_say_nothing():
    still = Signature(np.arange(30) / 5, np.full((30, 36), 7, np.int8))
    none = Signature(np.zeros(0), np.zeros((0, 36), np.int8))
    assert found({"a": still, "b": still, "c": none, "d": none}) == {}
    assert find_duplicates({}, {}, LEAST) == {}


def test_clips_of_many_people_are_not_all_compared_with_each_other(monkeypatch):
    compared = []

    def count(one, other):
        compared.append(1)
        return similarity(one, other)

    monkeypatch.setattr(duplicates, "similarity", count)
    clips = {f"{number:04d}": make_signature(f"moves {number}") for number in range(400)}
    clips["copy"] = make_signature("moves 7", 0.5, 5.5, noise=2)
    assert found(clips) == {"copy": "0007"}
    assert len(compared) < 400


def test_clips_that_all_look_alike_are_compared_with_a_bounded_number_of_others(monkeypatch):
    compared = []
    monkeypatch.setattr(duplicates, "similarity", lambda one, other: compared.append(1) or 0.0)
    short = make_signature("nods", 0, 0.8)
    for count in (200, 400):
        compared.clear()
        assert found({f"{number:04d}": short for number in range(count)}) == {}
        assert len(compared) < 40 * count


@pytest.fixture(scope="module")
def copies(samples, tmp_path_factory):
    """The first seconds of the sample, and a small copy: graded, trimmed, at another rate and quality."""
    folder = tmp_path_factory.mktemp("copies")
    video = decode(samples / "WolfgangLanger_Pexels.mp4", 25)
    frames = [frame.image for frame in islice(video, 125)]
    curve = np.clip(255 * (np.arange(256) / 255) ** 0.75 * 0.9 + 20, 0, 255)
    chosen = [frames[round(25 * (0.37 + number / 24))] for number in range(100)]
    small = [cv2.resize(image, (428, 240), interpolation=cv2.INTER_AREA) for image in chosen]
    graded = [np.clip(curve[image] + np.array([9, 0, -9]), 0, 255).astype(np.uint8) for image in small]
    return write_video(folder / "one.mp4", frames, 25, 20), write_video(folder / "other.mp4", graded, 24, 33)


def test_a_copy_is_found_in_real_video_and_another_part_of_it_is_not(
    copies, samples, models, make_source, shards_settings, tmp_path
):
    identity = shards_settings.identity.model_copy(update={"models": None})
    settings = shards_settings.model_copy(update={"identity": identity})
    sources = [
        make_source("http://a.org/one.mp4"),
        make_source("http://a.org/other.mp4"),
        make_source("http://a.org/later.mp4", start_s=10.0, end_s=14.0),
    ]
    results = [
        process_source(
            SourceTask(
                source=source, video=video, video_sha256=hashlib.sha256(video.read_bytes()).hexdigest(),
                root=models.parent, settings=settings, tracks=tmp_path / "tracks", clips=tmp_path / "clips",
            )
        )
        for source, video in zip(sources, [*copies, samples / "WolfgangLanger_Pexels.mp4"], strict=True)
    ]  # fmt: skip
    rows, prepared, _ = assign(sources, [result.summary() for result in results], settings, 0.6)
    assert sorted(row.label for row in rows) == ["filtered(duplicate)", "kept", "kept"]
    (duplicate,) = (row for row in rows if row.reason == "duplicate")
    assert {duplicate.source_key, duplicate.duplicate_of[:40]} == {source.key for source in sources[:2]}
    assert len(prepared) == 2
