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
    values = train_settings.model_dump() | {"batch_size_per_worker": 4, "pairs_per_visit": 3}
    with pytest.raises(ValidationError, match="got pairs_per_visit 3 and batch_size_per_worker 4; the"):
        type(train_settings).model_validate(values)
