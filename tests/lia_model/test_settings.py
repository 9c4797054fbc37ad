import pytest
from pydantic import ValidationError

from lia_model.settings import NetworkScale


def test_a_misspelt_key_is_refused():
    with pytest.raises(ValidationError, match="widht"):
        NetworkScale.model_validate({"widht": 1, "latent_dim": 512, "num_directions": 20})


def test_settings_cannot_be_changed():
    scale = NetworkScale(width=1, latent_dim=512, num_directions=20)
    with pytest.raises(ValidationError, match="frozen"):
        scale.width = 2


def test_a_size_that_is_no_octave_is_refused():
    with pytest.raises(ValidationError, match="size_px"):
        NetworkScale(width=1, latent_dim=512, num_directions=20).at(100)


def test_a_batch_of_broken_visits_is_refused(train_settings):
    values = train_settings.model_dump() | {"micro_batch_size": 4, "pairs_per_visit": 3}
    with pytest.raises(ValidationError, match="got pairs_per_visit 3 and micro_batch_size 4; the"):
        type(train_settings).model_validate(values)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"global_batch_size": 10},
            "got micro_batch_size 4 and global_batch_size 10; the first has to divide the second: correct",
        ),
        (
            {"num_workers": 3, "global_batch_size": 8},
            r"got num_workers 3 and 2 micro-batches, 8 / 4; every worker needs one: lower",
        ),
        ({"num_workers": [1, 3], "global_batch_size": 8}, "got num_workers 3 and 2 micro-batches"),
        ({"num_workers": [2, 1]}, r"got num_workers \[2, 1\]; it is \[least, most\]: exchange the two"),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_refused(train_settings, changed, message):
    with pytest.raises(ValidationError, match=message):
        type(train_settings).model_validate(train_settings.model_dump() | changed)


def test_the_number_of_workers_may_be_a_range(train_settings):
    values = train_settings.model_dump() | {"num_workers": [1, 2], "global_batch_size": 8}
    settings = type(train_settings).model_validate(values)
    assert settings.num_workers == (1, 2)
    assert type(train_settings).model_validate_json(settings.model_dump_json()) == settings


def test_milestones_lie_among_the_checkpoints(train_settings):
    content = train_settings.model_dump() | {"checkpoint_every_steps": 4, "milestone_every_steps": 6}
    with pytest.raises(ValueError, match="the second has to divide the first: choose a multiple, or 0"):
        type(train_settings).model_validate(content)
