import os

import pytest
import torch

from lia_model.checkpoints.directory import save_generator
from lia_model.training.cluster.checkpoint_reporter import RELEASED
from lia_model.training.cluster.disk_use import DiskUse, checkpoint_bytes, expected_disk_use, require_space
from lia_model.training.state import new_state, save_state


def test_a_checkpoint_is_as_large_as_foretold(train_settings, tmp_path):
    state = new_state(train_settings, 32, torch.device("cpu"))
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    save_state(state, tmp_path / "state", {})
    save_generator(tmp_path / "state" / RELEASED, state.average, {})
    written = sum(path.stat().st_size for path in (tmp_path / "state").rglob("*.safetensors"))
    told = checkpoint_bytes(train_settings.network.at(32))
    # Names and shapes, which stand before the numbers, weigh something in so small a network.
    assert told < written < told + 200_000


def test_the_newest_the_best_the_milestones_and_one_in_writing_are_counted(train_settings):
    settings = train_settings.model_copy(
        update={"num_steps": 100, "num_kept_checkpoints": 3, "milestone_every_steps": 30}
    )
    assert expected_disk_use(settings, 32).num_checkpoints == 3 + 3 + 1 + 1


def test_checkpoints_that_do_not_fit_are_refused_with_their_size(tmp_path):
    with pytest.raises(ValueError, match=r"3 checkpoints of 1000000000\.00 GB, .* `lia clean`, or"):
        require_space(DiskUse(10**18, 3), tmp_path / "not/yet/there", tmp_path / "not/yet/there/run")


def test_the_present_checkpoints_of_the_run_are_not_counted_twice(tmp_path):
    own = tmp_path / "run"
    own.mkdir()
    with (own / "weights").open("wb") as file:
        # A hole: it has a size and takes no space.
        file.truncate(10**13)
    os.link(own / "weights", own / "milestone")
    require_space(DiskUse(10**13, 1), tmp_path, own)
    with pytest.raises(ValueError, match=r"together 20000\.00 GB"):
        require_space(DiskUse(10**13, 2), tmp_path, own)
