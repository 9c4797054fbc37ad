from dataclasses import asdict, replace

import pytest

from preprocessing.clips.records import clip_metadata, clip_row, source_row
from preprocessing.faces.sightings import Sightings
from preprocessing.outcome import Failed, Filtered, Kept
from tests.preprocessing.clips.made_up_clip import make_candidate
from tests.preprocessing.faces.synthetic_video import NO_MINIATURES

OUTCOMES = {
    ("kept", None, None, None): Kept(),
    ("filtered", "dark", None, None): Filtered("dark"),
    ("failed", None, "no video", False): Failed("no video", retryable=False),
    ("failed", None, "timed out", True): Failed("timed out", retryable=True),
}


def make_sightings(fps=25, num_frames=260):
    times_s = [number / fps for number in range(num_frames)]
    return Sightings(0, times_s, (640, 360), [], [], [], b"", NO_MINIATURES)


@pytest.fixture
def source(make_source):
    return make_source("http://a.org/1.mp4", start_s=1.0, identity="Ada", licence="CC0", note="seen")


@pytest.mark.parametrize("state", OUTCOMES)
def test_a_row_tells_its_outcome_and_what_belongs_to_it(source, state):
    row = source_row(source, OUTCOMES[state])
    assert (row.outcome, row.reason, row.error, row.retryable) == state


@pytest.mark.parametrize("outcome", [Kept(), Filtered("dark")])
def test_a_row_of_a_candidate_adds_its_facts_to_the_outcome(source, outcome):
    candidate = make_candidate(outcome=outcome)
    row = clip_row(source, candidate, make_sightings())
    facts = {
        "key",
        "split",
        "track",
        "person",
        "num_frames",
        "start_s",
        "end_s",
        "face_px",
    }
    scores = asdict(candidate.scores)
    own = asdict(source_row(source, outcome))
    found = asdict(row)
    assert {name: value for name, value in found.items() if name not in facts | scores.keys()} == {
        name: value for name, value in own.items() if name not in facts | scores.keys()
    }
    assert {name: found[name] for name in scores} == scores
    assert (row.key, row.track, row.person) == (candidate.key, 3, 1)


def test_a_row_of_a_source_has_its_key_and_no_facts_of_a_clip(source):
    row = source_row(source, Filtered("no_face"))
    known = {"key": source.row_key, "row_key": source.row_key, "source_key": source.key, "url": source.url}
    told = {name: value for name, value in asdict(row).items() if value is not None}
    assert told == known | {"identity": "Ada", "outcome": "filtered", "reason": "no_face"}


@pytest.mark.parametrize("fps", [10, 25, 30])
@pytest.mark.parametrize(("first_frame", "num_frames"), [(0, 1), (30, 20), (7, 250)])
def test_times_are_those_of_the_frames_in_the_whole_source(source, fps, first_frame, num_frames):
    row = clip_row(source, make_candidate(first_frame, num_frames), make_sightings(fps))
    assert row.num_frames == num_frames
    assert row.start_s * fps == pytest.approx(first_frame, abs=1e-4)
    assert row.end_s * fps == pytest.approx(first_frame + num_frames, abs=1e-4)


def test_the_size_of_a_face_is_the_longer_side_around_all_its_boxes(source):
    # In 20 frames, the face of 80 px moves by 19 px to the right and grows by 38 px downwards.
    assert clip_row(source, make_candidate(num_frames=20), make_sightings()).face_px == 80 + 38


def test_metadata_agrees_with_the_row_in_what_both_tell(source, shards_settings):
    candidate = make_candidate(split="test")
    clip = clip_metadata(source, candidate, make_sightings(), shards_settings.crop).model_dump()
    row = clip_row(source, candidate, make_sightings())
    row = asdict(row)
    both = clip.keys() & row.keys()
    assert both == {
        "key", "source_key", "url", "identity", "split", "num_frames", "start_s", "end_s", "mean_score"
    }  # fmt: skip
    assert {key: clip[key] for key in both} == {key: row[key] for key in both}


def test_metadata_describes_the_frames_and_their_terms_of_use(source, shards_settings):
    clip = clip_metadata(source, make_candidate(), make_sightings(), shards_settings.crop)
    assert clip.licence == "CC0"
    assert (clip.crop_box, clip.frame_size_px) == ((-10, 20, 190, 220), (640, 360))
    crop = shards_settings.crop
    assert (clip.fps, clip.size_px, clip.crop_rule) == (25, crop.size_px, crop.rule)


def test_frames_keep_the_times_of_an_uneven_source(source, shards_settings):
    times_s = [0.0, 0.04, 0.08, 0.5, 0.54, 10.0, 10.04]
    sightings = replace(make_sightings(), times_s=times_s)
    clip = clip_metadata(source, make_candidate(1, 4), sightings, shards_settings.crop)
    assert (clip.start_s, clip.end_s) == (0.04, pytest.approx(0.58))
    assert clip.times_s == pytest.approx([0, 0.04, 0.46, 0.5])
    assert clip.fps == pytest.approx(25)


def test_times_are_stored_in_whole_microseconds_and_rates_in_thousandths(source, shards_settings):
    ntsc = make_sightings(30_000 / 1001)
    clip = clip_metadata(source, make_candidate(1, 3), ntsc, shards_settings.crop)
    row = clip_row(source, make_candidate(1, 3), ntsc)
    assert (row.start_s, row.end_s) == (clip.start_s, clip.end_s) == (0.033367, 0.133467)
    assert clip.times_s == [0.0, 0.033367, 0.066733]
    odd = clip_metadata(source, make_candidate(1, 3), make_sightings(12.34567), shards_settings.crop)
    assert (clip.fps, odd.fps) == (29.97, 12.346)


def test_a_video_of_one_frame_counts_as_25_frames_a_second(source, shards_settings):
    single = make_sightings(num_frames=1)
    clip = clip_metadata(source, make_candidate(0, 1), single, shards_settings.crop)
    assert (clip.fps, clip.times_s, clip.start_s, clip.end_s) == (25, [0], 0, 0.04)


def test_a_part_of_a_source_divided_by_time_keeps_its_side_and_what_it_continues(
    make_source, shards_settings
):
    divided, whole = make_source(split="by_time"), make_source(split="auto")
    part = make_candidate(split="test", follows="k-whole-000-000000")
    clip = clip_metadata(divided, part, make_sightings(), shards_settings.crop)
    assert (clip.by_time, clip.split, clip.follows) == (True, "test", "k-whole-000-000000")
    clip = clip_metadata(whole, make_candidate(), make_sightings(), shards_settings.crop)
    # The split of a whole source is assigned later; until then it is train.
    assert (clip.by_time, clip.split, clip.follows) == (False, "train", None)
