import pytest
from pydantic import ValidationError

from lia_model.training.cluster.sweep_settings import Axis, with_values


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
