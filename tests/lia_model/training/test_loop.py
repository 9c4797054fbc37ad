import numpy as np
import pytest
import torch

from lia_model.data.sharded_clips import ShardedClips
from lia_model.training import loop
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.state import load_state, new_state, save_state
from lia_model.training.step import training_step
from lia_model.training.stop import DamagedDataError, NonFiniteError
from tests.lia_model.shards_on_disk import damage_frame, write_shards

CPU = torch.device("cpu")


@pytest.fixture
def shards(tmp_path):
    clips = list(np.random.default_rng(0).integers(0, 256, (3, 5, 32, 32, 3), dtype=np.uint8))
    write_shards(tmp_path / "shards", {"train": clips}, 32)
    return tmp_path / "shards"


def train(state, shards, settings, hooks=None):
    loader = build_loader(ShardedClips(shards, "train"), settings)
    run(state, loader, settings, hooks or Hooks())


def test_hooks_are_called_at_their_steps(shards, train_settings):
    metrics, strips, checkpoints = [], [], []
    hooks = Hooks(
        on_metrics=lambda step, values: metrics.append((step, values)),
        on_strip=lambda step, strip: strips.append((step, strip)),
        on_checkpoint=lambda state: checkpoints.append(state.step),
    )
    train(new_state(train_settings, 32, CPU), shards, train_settings, hooks)
    assert [step for step, _ in metrics] == [2, 4, 6]
    assert set(metrics[0][1]) == {
        "loss/l1",
        "loss/generator_adversarial",
        "loss/discriminator",
        "gradient_norm/generator",
        "gradient_norm/discriminator",
        "learning_rate/generator",
        "learning_rate/discriminator",
        "speed/pairs_per_s",
        "speed/data_wait_share",
    }
    assert 0 <= metrics[0][1]["speed/data_wait_share"] < 1
    assert metrics[0][1]["gradient_norm/generator"] > 0
    assert metrics[0][1]["learning_rate/generator"] == pytest.approx(0.002 * 4 / 5)
    assert [step for step, _ in strips] == [3, 6]
    assert strips[0][1].shape == (3 * 32, 4 * 32, 3)
    assert checkpoints == [3, 6]


def test_a_resumed_run_ends_bit_for_bit_where_an_undisturbed_one_ends(shards, train_settings, tmp_path):
    whole = new_state(train_settings, 32, CPU)
    train(whole, shards, train_settings)

    class Killed(Exception):
        pass

    def die_at_three(state):
        save_state(state, tmp_path / "latest", {})
        raise Killed

    with pytest.raises(Killed):
        train(new_state(train_settings, 32, CPU), shards, train_settings, Hooks(on_checkpoint=die_at_three))
    resumed = new_state(train_settings, 32, CPU)
    load_state(resumed, tmp_path / "latest")
    assert resumed.step == 3
    train(resumed, shards, train_settings)
    for module in ("generator", "discriminator", "average"):
        for a, b in zip(
            getattr(whole, module).parameters(), getattr(resumed, module).parameters(), strict=True
        ):
            assert torch.equal(a, b)


def test_training_lowers_the_loss(tmp_path, train_settings):
    # Two plain colours: noise would have nothing to learn.
    clips = [np.full((4, 32, 32, 3), value, np.uint8) for value in (40, 220)]
    write_shards(tmp_path / "shards", {"train": clips}, 32)
    losses = []
    settings = train_settings.model_copy(update={"num_steps": 40, "log_every_steps": 10})
    hooks = Hooks(on_metrics=lambda step, values: losses.append(values["loss/l1"]))
    train(new_state(settings, 32, CPU), tmp_path / "shards", settings, hooks)
    assert losses[-1] < 0.5 * losses[0]


def test_a_loss_that_is_not_a_number_ends_the_run_with_its_name_and_step(shards, train_settings):
    state = new_state(train_settings, 32, CPU)
    with torch.no_grad():
        state.generator.synthesis.constant.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="loss/l1 was nan at step 1;"):
        train(state, shards, train_settings)


def test_a_checkpoint_that_falls_due_after_a_bad_step_is_not_written(shards, train_settings, monkeypatch):
    settings = train_settings.model_copy(update={"log_every_steps": 100, "strip_every_steps": 100})
    good = new_state(settings, 32, CPU)
    train(good, shards, settings.model_copy(update={"num_steps": 4}))
    spoilt = new_state(settings, 32, CPU)
    take_step = training_step

    def spoil(networks, source, driving, *, step, **others):
        source = source * float("inf") if step == 4 else source
        return take_step(networks, source, driving, step=step, **others)

    saved = []
    monkeypatch.setattr(loop, "training_step", spoil)
    with pytest.raises(NonFiniteError, match="was nan at step 5;"):
        train(spoilt, shards, settings, Hooks(on_checkpoint=lambda state: saved.append(state.step)))
    assert saved == [3]
    for module in ("generator", "discriminator"):
        ours, theirs = (getattr(state, module).parameters() for state in (spoilt, good))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_damaged_frame_is_counted_and_many_of_its_pairs_end_the_run(shards, train_settings, tmp_path):
    damage_frame(shards, 1, 2)
    metrics, told, kept = [], [], []
    hooks = Hooks(
        on_metrics=lambda step, values: metrics.append(values),
        on_damage=lambda damage: told.append(damage.names()),
        on_checkpoint=lambda state: kept.append(state.step),
    )
    state = new_state(train_settings, 32, CPU)
    train(state, shards, train_settings, hooks)
    assert told == [["frame 2 of train-1 in train/00000.tar (not an image)"]]
    assert metrics[-1]["data/damaged_frames"] == 1
    assert metrics[-1]["data/replaced_pairs"] == state.damage.num_replaced_pairs > 1

    long = train_settings.model_copy(update={"num_steps": 60})
    with pytest.raises(DamagedDataError, match=r"pairs hold .* damaged are frame 2 of train-1 in"):
        train(state, shards, long, hooks)
    # No checkpoint is written once the limit is passed.
    assert state.step - kept[-1] <= train_settings.checkpoint_every_steps
    assert state.step not in kept


def test_a_resumed_run_counts_damage_as_an_undisturbed_one_does(shards, train_settings, tmp_path):
    damage_frame(shards, 1, 2)
    whole = new_state(train_settings, 32, CPU)
    train(whole, shards, train_settings)
    half, resumed = (new_state(train_settings, 32, CPU) for _ in range(2))
    train(half, shards, train_settings.model_copy(update={"num_steps": 3}))
    save_state(half, tmp_path / "c", {})
    load_state(resumed, tmp_path / "c")
    assert resumed.damage == half.damage
    train(resumed, shards, train_settings)
    assert resumed.damage == whole.damage


@pytest.mark.parametrize("is_wanted", [True, False])
def test_training_is_deterministic_where_it_is_asked_to(shards, train_settings, is_wanted):
    settings = train_settings.model_copy(update={"deterministic": is_wanted, "num_steps": 2})
    found = []
    train(
        new_state(settings, 32, CPU),
        shards,
        settings,
        Hooks(on_metrics=lambda *_: found.append(torch.are_deterministic_algorithms_enabled())),
    )
    assert found == [is_wanted]
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_checkpoint_is_taken_before_its_time_when_one_is_wanted(shards, train_settings):
    asked, checkpoints = iter([False, True, False]), []
    hooks = Hooks(
        is_checkpoint_wanted=lambda: next(asked),
        on_checkpoint=lambda state: checkpoints.append(state.step),
    )
    train(new_state(train_settings, 32, CPU), shards, train_settings, hooks)
    assert checkpoints == [3, 4, 6]
