from pathlib import Path

import pytest

from lia_model.settings import TrainSettings


@pytest.fixture(scope="session")
def drill_folder() -> Path:
    """Where drills leave what they found: beside the logs of `make drill`."""
    folder = Path(__file__).parents[2] / "runs" / "drills"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def train_settings() -> TrainSettings:
    """The small training of the tests."""
    from tests.lia_model.conftest import train_settings

    return train_settings.__wrapped__()
