import pytest
import torch

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.networks.layers import lay_out_weights
from lia_model.training.state import load_state, new_state, save_state

CPU = torch.device("cpu")


def test_optimisers_have_the_published_factors(train_settings):
    state = new_state(train_settings, 32, CPU)
    (generator,) = state.generator_optimizer.param_groups
    (discriminator,) = state.discriminator_optimizer.param_groups
    assert generator["lr"] == pytest.approx(0.0016)
    assert generator["betas"] == (0.0, pytest.approx(0.99**0.8))
    assert discriminator["lr"] == pytest.approx(0.002 * 16 / 17)
    assert discriminator["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))


def test_a_training_checkpoint_holds_no_pickle(train_settings, tmp_path):
    save_state(new_state(train_settings, 32, CPU), tmp_path / "c", {})
    assert {file.suffix for file in (tmp_path / "c").iterdir()} == {".json", ".safetensors"}


def fuse(state, fused):
    """Make the optimizers fused ones, as they are on a GPU."""
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        optimizer.defaults["fused"] = optimizer.param_groups[0]["fused"] = fused


@pytest.mark.parametrize("fused", [False, True])
def test_everything_comes_back(train_settings, tmp_path, fused):
    state = new_state(train_settings, 32, CPU)
    fuse(state, fused)
    for module, optimizer in (
        (state.generator, state.generator_optimizer),
        (state.discriminator, state.discriminator_optimizer),
    ):
        for parameter in module.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    state.step = 17
    save_state(state, tmp_path / "c", {})
    loaded = new_state(train_settings.model_copy(update={"seed": 5}), 32, CPU)
    fuse(loaded, fused)
    load_state(loaded, tmp_path / "c")
    assert loaded.step == 17
    for ours, theirs in (
        (state.generator, loaded.generator),
        (state.discriminator, loaded.discriminator),
        (state.average, loaded.average),
    ):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b)
    first, second = state.generator_optimizer.state_dict(), loaded.generator_optimizer.state_dict()
    for number, values in first["state"].items():
        assert {k: v.tolist() for k, v in values.items()} == {
            k: v.tolist() for k, v in second["state"][number].items()
        }


def test_training_can_start_from_a_checkpoint(train_settings, tmp_path):
    start = build_generator(train_settings.network.at(32), seed=9)
    save_generator(tmp_path / "start", start)
    state = new_state(train_settings.model_copy(update={"init_from": str(tmp_path / "start")}), 32, CPU)
    assert torch.equal(state.generator.motion.free, start.motion.free)
    assert torch.equal(state.average.motion.free, start.motion.free)


def test_a_start_without_a_discriminator_is_named_once_and_one_with_it_is_continued(
    train_settings, tmp_path, caplog
):
    start = new_state(train_settings.model_copy(update={"seed": 9}), 32, CPU)
    save_generator(tmp_path / "released", start.generator)
    save_state(start, tmp_path / "trained", {})
    fresh = new_state(train_settings, 32, CPU)

    def begin(name):
        caplog.clear()
        state = new_state(train_settings.model_copy(update={"init_from": str(tmp_path / name)}), 32, CPU)
        is_as = [
            all(map(torch.equal, state.discriminator.parameters(), other.discriminator.parameters()))
            for other in (start, fresh)
        ]
        return is_as, caplog.messages

    assert begin("trained") == ([True, False], [])
    is_as, (line,) = begin("released")
    assert is_as == [False, True]
    assert line == (
        f"train.init_from = {tmp_path}/released has no discriminator.safetensors, as released models have "
        "none: the discriminator starts fresh"
    )


def test_a_start_of_another_shape_is_refused(train_settings, tmp_path):
    save_generator(tmp_path / "start", build_generator(train_settings.network.at(64)))
    with pytest.raises(
        ValueError,
        match=r"^train\.init_from = .*/start holds networks with size_px 64, train\.network and the shards "
        r"give size_px 32: change these, or name another checkpoint$",
    ):
        new_state(train_settings.model_copy(update={"init_from": str(tmp_path / "start")}), 32, CPU)


def test_moments_come_back_in_the_layout_of_their_weights(train_settings, tmp_path):
    state, loaded = new_state(train_settings, 32, CPU), new_state(train_settings, 32, CPU)
    for each in (state, loaded):
        lay_out_weights(each.generator)
    for parameter in state.generator.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.generator_optimizer.step()
    save_state(state, tmp_path / "c", {})
    load_state(loaded, tmp_path / "c")
    for ours, theirs in zip(state.generator.parameters(), loaded.generator.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        moments = loaded.generator_optimizer.state[theirs]
        assert torch.equal(moments["exp_avg_sq"], state.generator_optimizer.state[ours]["exp_avg_sq"])
        assert moments["exp_avg_sq"].stride() == theirs.stride() == ours.stride()


def test_a_state_that_is_not_finite_is_not_written(train_settings, tmp_path):
    state = new_state(train_settings, 32, CPU)
    next(state.discriminator.parameters()).data.view(-1)[0] = float("inf")
    with pytest.raises(FloatingPointError, match="is not finite at a checkpoint"):
        save_state(state, tmp_path / "c", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("width", "size_px", "named"), [(0.02, 64, "size_px 32"), (0.04, 32, "width 0.02")])
def test_a_checkpoint_of_other_networks_is_not_resumed(train_settings, tmp_path, width, size_px, named):
    save_state(new_state(train_settings, 32, CPU), tmp_path / "step", {})
    network = train_settings.network.model_copy(update={"width": width})
    other = new_state(train_settings.model_copy(update={"network": network}), size_px, CPU)
    with pytest.raises(
        ValueError, match=f"^the run's checkpoint = .*/step holds networks with {named}, train"
    ):
        load_state(other, tmp_path / "step")


def test_the_position_of_a_run_is_the_number_of_pairs_consumed(train_settings, tmp_path):
    state, resumed = (new_state(train_settings, 32, CPU) for _ in range(2))
    state.step, state.num_pairs = 3, 41
    save_state(state, tmp_path / "step", {})
    load_state(resumed, tmp_path / "step")
    assert (resumed.step, resumed.num_pairs) == (3, 41)


def test_a_checkpoint_that_counts_no_pairs_is_refused(train_settings, tmp_path):
    state = new_state(train_settings, 32, CPU)
    save_state(state, tmp_path / "step", {})
    (tmp_path / "step/training.json").write_text('{"step": 0}')
    (tmp_path / "step/hashes.json").unlink()
    with pytest.raises(
        ValueError, match="earlier version, whose runs cannot be resumed: start a new run with"
    ):
        load_state(state, tmp_path / "step")
