import numpy as np
import pytest

from lia_model.animator import Animator
from lia_model.data.pair_choice import choose_pairs
from lia_model.data.pair_reader import PairReader
from lia_model.evaluation.champion.gate_evidence import CHALLENGER, CHAMPION, measure
from lia_model.evaluation.scores import EvaluatedModel
from tests.lia_model.evaluation_settings import evaluation_settings
from tests.lia_model.shards_on_disk import change_held_out, write_shards

NUM_CLIPS = 6


class PaintingAnimator(Animator):
    """Answers every driving frame with one grey level."""

    grey = 0

    def animate(self, source, driving, mode="relative", batch_size=16):
        return (np.full_like(source, self.grey) for _ in driving)


def painting(generator, role, grey, version=None):
    animator = PaintingAnimator(generator, precision="fp32")
    animator.grey = grey
    return EvaluatedModel(role, animator, version=version)


@pytest.fixture
def shards(tmp_path):
    """Held-out clips that begin black and go on grey."""
    clips = [np.full((4, 32, 32, 3), 100, np.uint8) for _ in range(NUM_CLIPS)]
    for clip in clips:
        clip[0] = 0
    write_shards(tmp_path, {"train": clips[:1], "test": clips}, 32)
    return tmp_path


@pytest.fixture
def settings(models, tmp_path):
    faces = {"detector": models / "scrfd", "models": tmp_path, "min_score": 0.5, "max_num_frames_per_clip": 1}
    return evaluation_settings(models, faces=faces)


def set_clips(shards, **changes):
    """Change the same fields of the first two held-out clips."""
    others = len(PairReader(shards).held_out) - 2
    change_held_out(shards, changes, changes, *[{}] * others)


def evidence(shards, settings, generator, champion=None):
    reader = PairReader(shards)
    pairs = choose_pairs(reader, settings, ("reconstruction",))
    other = None if champion is None else painting(generator, CHAMPION, champion, "3")
    return measure(painting(generator, CHALLENGER, 100), other, reader, pairs, settings)


def test_a_model_is_compared_with_copying_and_with_the_champion_on_the_same_clips(
    shards, settings, generator
):
    found = evidence(shards, settings, generator, champion=120)
    assert found.copying["l1"].mean == found.champion["l1"].mean
    # The first frame is black in every clip: three quarters of the frames are right, or 20 levels away.
    assert found.copying["l1"].other_mean == pytest.approx(3 / 4 * 100 / 255, abs=0.01)
    assert found.champion["l1"].other_mean == pytest.approx((3 / 4 * 20 + 120 / 4) / 255, abs=0.01)
    assert found.champion["l1"].is_certainly_better
    assert {each.num_people for each in (*found.copying.values(), *found.champion.values())} == {NUM_CLIPS}
    assert found.champion_version == "3"
    assert not found.is_by_time
    assert not found.other_people
    assert [one.what for one in found.not_compared] == ["akd", "mkr"]


def test_clips_split_by_time_decide_alone_and_the_others_are_reported(shards, settings, generator):
    set_clips(shards, by_time=True)
    found = evidence(shards, settings, generator)
    assert found.is_by_time
    assert found.copying["l1"].num_clips == 2
    assert found.other_people["l1"].num_clips == NUM_CLIPS - 2
    assert found.copying["l1"].interval is None


def test_clips_of_one_person_count_as_one(shards, settings, generator):
    set_clips(shards, identity="ann")
    assert evidence(shards, settings, generator).copying["l1"].num_people == NUM_CLIPS - 1


def test_the_hash_is_that_of_the_list(shards, settings, generator):
    first, again = (evidence(shards, settings, generator).list_sha256 for _ in range(2))
    other = evidence(shards, settings.model_copy(update={"max_num_frames_per_clip": 2}), generator)
    assert first == again != other.list_sha256
