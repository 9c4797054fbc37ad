import pytest

from preprocessing.clips.sample import ClipMetadata, PreparedClip
from preprocessing.clips.splitting.comparison import Comparison
from preprocessing.clips.splitting.disjointness import judge_disjointness
from preprocessing.ledger import ClipRow

MEASURED = Comparison("0 of 300 pairs match", "")


@pytest.fixture
def make_clips(tmp_path):
    """Function that gives rows and clips, one for each pair of a split and whether it is split by time."""

    def make(*splits, person: int | None = 0):
        rows, prepared = [], []
        for number, (split, by_time) in enumerate(splits):
            base = {"key": f"k{number}", "source_key": f"s{number}", "url": f"http://a.org/{number}.mp4"}
            rows.append(ClipRow(**base, row_key=f"s{number}", outcome="kept", person=person, split=split))
            clip = ClipMetadata(
                **base, licence=None, identity=None, split=split, by_time=by_time, follows=None, start_s=0.0,
                end_s=1.0, num_frames=9, fps=25.0, times_s=[0.0], size_px=16, crop_rule="fomm_square",
                crop_box=(0, 0, 16, 16), frame_size_px=(32, 32), mean_score=0.9,
            )  # fmt: skip
            made = PreparedClip(clip=clip, file=tmp_path, frame_bytes=[], frames_sha256="", signature="")
            prepared.append(made.kept())
        return rows, prepared

    return make


def test_people_who_were_compared_by_a_calibrated_embedder_are_apart(make_clips):
    found = judge_disjointness(*make_clips(("train", False), ("test", False)), MEASURED)
    assert found == (True, "0 of 300 pairs match")


def test_nothing_is_claimed_of_people_who_were_not_compared(make_clips):
    clips = make_clips(("train", False), ("test", False))
    assert judge_disjointness(*clips, Comparison(None, "labels only")) == (None, "labels only")


def test_nothing_is_claimed_if_a_face_was_not_embedded(make_clips):
    is_disjoint, reason = judge_disjointness(
        *make_clips(("train", False), ("test", False), person=None), MEASURED
    )
    assert is_disjoint is None
    assert reason == "2 of 2 clips show a face that was not embedded"


def test_nothing_is_claimed_without_a_held_out_clip(make_clips):
    assert judge_disjointness(*make_clips(("train", False)), MEASURED).is_disjoint is None


def test_videos_split_by_time_show_the_same_people_whatever_was_compared(make_clips):
    clips = make_clips(("train", True), ("test", True), ("test", False))
    for comparison in (MEASURED, Comparison(None, "labels only")):
        assert judge_disjointness(*clips, comparison) == (
            False,
            "2 clips are of videos that were split by time",
        )
