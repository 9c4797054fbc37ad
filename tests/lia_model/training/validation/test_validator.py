import numpy as np
import pytest
import torch

from lia_model.animator import Animator
from lia_model.data.pair_reader import PairReader
from lia_model.settings import ValidationSettings
from lia_model.training.validation.pairs import choose_validation_pairs, list_sha256, other_person
from lia_model.training.validation.validator import MAX_CELL_PX, NUM_STEPS, Validator, is_possible, turn_name
from tests.lia_model.shards_on_disk import change_held_out, change_yaws, write_shards

CPU = torch.device("cpu")
NUM_FRAMES = 9


@pytest.fixture
def shards(tmp_path):
    """Three held-out clips whose heads turn, fastest in the middle clip."""
    clips = list(np.random.default_rng(0).integers(0, 256, (4, NUM_FRAMES, 32, 32, 3), dtype=np.uint8))
    write_shards(tmp_path / "shards", {"train": clips[:1], "test": clips[1:]}, 32)
    change_yaws(tmp_path / "shards", "test", [np.arange(NUM_FRAMES) * speed for speed in (1.0, -7.0, 2.0)])
    return tmp_path / "shards"


@pytest.fixture
def settings(train_settings, models):
    validation = ValidationSettings(
        metric="l1", max_num_clips=4, max_num_frames_per_clip=3, lpips=models / "lpips_alex.safetensors"
    )
    return train_settings.model_copy(update={"validate_every_steps": 3, "validation": validation})


def test_l1_is_that_of_animated_frames(shards, settings, generator):
    found = Validator(shards, settings, CPU).validate(generator, 7)
    reader, animator = PairReader(shards), Animator(generator, precision="fp32")
    values = []
    for each in choose_validation_pairs(reader, settings.validation):
        item = reader.read(each.pair)
        result = np.stack(list(animator.animate(item.source, item.frames, mode="absolute")))
        values.append(np.abs(result.astype(int) - item.frames).mean() / 255)
    # The animator rounds to bytes.
    assert found.metrics["validation/l1"] == pytest.approx(np.mean(values), abs=2e-3)
    assert found.record.score == found.metrics["validation/l1"]
    assert (found.record.step, found.record.metric) == (7, "l1")
    assert found.metrics["validation/seconds"] > 0
    assert {"validation/lpips", "validation/l1_of_copying"} < found.metrics.keys()


def test_clips_split_by_time_decide_alone_as_in_the_release_gate(shards, settings, generator):
    of_all = Validator(shards, settings, CPU).validate(generator, 1).metrics
    assert not any("other_people" in name for name in of_all)
    change_held_out(shards, {}, {"by_time": True}, {})
    found = Validator(shards, settings, CPU).validate(generator, 1)
    of_other_people = found.metrics["validation/other_people_l1"]
    assert found.record.score == found.metrics["validation/l1"] != pytest.approx(of_other_people, abs=1e-6)
    assert found.metrics["validation/l1"] + 2 * of_other_people == pytest.approx(3 * of_all["validation/l1"])


def test_clips_that_decide_have_the_first_places(shards, settings):
    change_held_out(shards, {}, {}, {"by_time": True})
    few = settings.validation.model_copy(update={"max_num_clips": 2})
    first, second = choose_validation_pairs(PairReader(shards), few)
    assert (first.pair.driving, first.is_deciding, second.is_deciding) == ("test-2", True, False)


def test_l1_by_turn_is_the_mean_over_the_frames_turned_so_far(shards, settings, generator):
    metrics = Validator(shards, settings, CPU).validate(generator, 1).metrics
    assert {name for name in metrics if "turned" in name} == {
        "validation/l1_turned_0_to_15_deg",
        "validation/l1_turned_15_to_30_deg",
        "validation/l1_turned_over_30_deg",
    }
    change_yaws(shards, "test", [np.full(NUM_FRAMES, np.nan)] * 3)
    assert not any(
        "turned" in name for name in Validator(shards, settings, CPU).validate(generator, 1).metrics
    )
    assert [turn_name(turn) for turn in (0, 14.9, 15, 80)] == [
        "l1_turned_0_to_15_deg",
        "l1_turned_0_to_15_deg",
        "l1_turned_15_to_30_deg",
        "l1_turned_over_30_deg",
    ]


def test_the_pairs_are_the_same_at_every_step_and_hold_the_largest_turn(shards, settings):
    pairs, again = (choose_validation_pairs(PairReader(shards), settings.validation) for _ in range(2))
    assert list_sha256(pairs) == list_sha256(again)
    assert [each.pair for each in pairs] == [each.pair for each in again]
    assert all(0 not in each.pair.frames for each in pairs)
    yaws = [np.arange(NUM_FRAMES) * 1.0 for _ in range(3)]
    yaws[1][4] = 50
    change_yaws(shards, "test", yaws)
    turned = choose_validation_pairs(PairReader(shards), settings.validation)
    for each in turned:
        assert len(each.pair.frames) == len(set(each.pair.frames)) == 3
        assert list(each.pair.frames) == sorted(each.pair.frames)
    assert 4 in turned[1].pair.frames
    assert turned[1].pair.frames[turned[1].farthest] == 4


def test_another_person_is_one_of_another_identity(shards, settings):
    reader = PairReader(shards)
    pairs = choose_validation_pairs(reader, settings.validation)
    clips = {clip.key: clip for clip in reader.held_out.clips}
    assert other_person(pairs, clips, 2).driving == "test-0"
    one = {key: clip.model_copy(update={"identity": "ann"}) for key, clip in clips.items()}
    assert other_person(pairs, one, 2) is None


def test_pictures_show_both_transfers_and_every_direction(shards, settings, generator):
    pictures = Validator(shards, settings, CPU).validate(generator, 1).pictures
    assert pictures["validation_same_person"].shape == (3 * 32, 3 * 32, 3)
    assert pictures["validation_other_person"].shape == (3 * 32, 3 * 32, 3)
    num_directions = generator.settings.num_directions
    sheet = pictures["validation_directions"]
    assert sheet.shape == (num_directions * 32, NUM_STEPS * 32, 3)
    assert MAX_CELL_PX >= 32
    # The middle column is the source's own pose in every row.
    tiles = sheet.reshape(num_directions, 32, NUM_STEPS, 32, 3).transpose(0, 2, 1, 3, 4)
    middle, first = tiles[:, NUM_STEPS // 2].astype(int), tiles[:, 0].astype(int)
    assert np.abs(middle - middle[0]).max() <= 1
    assert np.abs(first - middle).max() > 1


def test_a_generator_keeps_its_mode_and_its_weights(shards, settings, generator):
    generator.train()
    before = generator.motion.free.clone()
    Validator(shards, settings, CPU).validate(generator, 1)
    assert generator.training
    assert torch.equal(generator.motion.free, before)


def test_without_the_weights_of_lpips_l1_is_measured_and_lpips_cannot_choose(
    shards, settings, generator, tmp_path, caplog
):
    blind = settings.validation.model_copy(update={"lpips": tmp_path / "none"})
    found = Validator(shards, settings.model_copy(update={"validation": blind}), CPU).validate(generator, 1)
    assert "validation/lpips" not in found.metrics
    assert "validation measures no LPIPS" in caplog.text
    chosen = blind.model_copy(update={"metric": "lpips"})
    with pytest.raises(ValueError, match=r"train\.validation\.metric is lpips, whose weights are missing"):
        Validator(shards, settings.model_copy(update={"validation": chosen}), CPU)


def test_validation_is_possible_with_held_out_clips_and_an_interval(shards, settings, tmp_path, caplog):
    assert is_possible(settings, shards)
    assert not is_possible(settings.model_copy(update={"validate_every_steps": 0}), shards)
    assert caplog.messages == []
    write_shards(tmp_path / "none", {"train": [np.zeros((2, 32, 32, 3), np.uint8)]}, 32)
    assert not is_possible(settings, tmp_path / "none")
    assert "holds no test clips" in caplog.text
