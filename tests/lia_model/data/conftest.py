from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lia_model.settings import EvaluateSettings
from tests.lia_model.evaluation_settings import evaluation_settings
from tests.lia_model.shards_on_disk import change_held_out, write_shards

SIZE_PX = 32


@pytest.fixture
def moving_gradient() -> Callable[[int], np.ndarray]:
    """Function `seed -> frames` that makes a clip whose frames differ a little."""

    def make(seed: int) -> np.ndarray:
        rows = np.arange(SIZE_PX)[:, None] + np.arange(SIZE_PX)[None] + seed * 20
        frames = [np.repeat((rows + 8 * t)[..., None] % 256, 3, 2) for t in range(6)]
        return np.stack(frames).astype(np.uint8)

    return make


@pytest.fixture
def shards(tmp_path: Path, moving_gradient: Callable[[int], np.ndarray]) -> Path:
    """One training clip and three held-out ones."""
    write_shards(tmp_path, {"train": [moving_gradient(0)], "test": list(map(moving_gradient, (1, 2, 3)))}, 32)
    return tmp_path


@pytest.fixture
def settings(models: Path) -> EvaluateSettings:
    return evaluation_settings(models)


@pytest.fixture
def change_clips(shards: Path) -> Callable[..., None]:
    """Function `(*changes)` that updates the manifest's entries of the held-out clips, one mapping each."""
    return partial(change_held_out, shards)
