import pytest
from pydantic import ValidationError

from lia_model.training.cluster.sweep.settings import Axis, SweepSettings, with_values


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "got nothing; one of choice, uniform and log_uniform"),
        ({"choice": [1], "uniform": [0, 1]}, "got choice and uniform;"),
        ({"uniform": [2, 1]}, r"got the range \[2.0, 1.0\];"),
        ({"log_uniform": [0, 1]}, "it lies above 0"),
        ({"choice": []}, "got no choice;"),
    ],
)
def test_an_axis_is_one_sensible_set_of_values(content, reason):
    with pytest.raises(ValidationError, match=reason):
        Axis.model_validate(content)


def test_values_replace_settings_at_their_keys_alone():
    settings = {"optimizer": {"rate": 1, "decay": 2}, "seed": 0}
    changed = with_values(settings, {"train.optimizer.rate": 3, "train.losses.extra.weight": 4})
    assert changed == {"optimizer": {"rate": 3, "decay": 2}, "seed": 0, "losses": {"extra": {"weight": 4}}}
    assert settings == {"optimizer": {"rate": 1, "decay": 2}, "seed": 0}


def test_the_values_of_a_trial_depend_on_the_seed_and_its_number_alone():
    space = {
        "train.seed": {"choice": [3, 5]},
        "train.ema_decay": {"uniform": [0.5, 0.75]},
        "train.optimizer.generator_lr": {"log_uniform": [1e-4, 1e-2]},
    }
    common = {"metric": "loss/l1", "mode": "min", "num_parallel": 1, "grace_steps": 1, "reduction_factor": 2}
    few, many, other = (
        SweepSettings.model_validate({**common, "space": space, "num_trials": number, "seed": seed})
        for number, seed in ((4, 0), (200, 0), (4, 1))
    )
    found = [many.values_of(number) for number in range(200)]
    assert found[:4] == [few.values_of(number) for number in range(4)]
    assert found[0] != other.values_of(0)
    seeds, decays, rates = (sorted(values[key] for values in found) for key in space)
    assert {*seeds} == {3, 5}
    assert 70 < seeds.count(3) < 130
    assert 0.5 <= decays[0] < 0.51
    assert 0.74 < decays[-1] < 0.75
    assert 1e-4 <= rates[0] < 1.2e-4
    # Each factor is as likely: the median is the geometric mean.
    assert 7e-4 < rates[100] < 1.4e-3
