"""Training with `train.compile`, really compiled by Inductor on the CPU, which takes minutes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.lia_model.shards_on_disk import write_shards

pytestmark = pytest.mark.drill

# In float32, of the way that the weights have gone; measured 1.8e-5.
FLOAT32_TOLERANCE = 1e-3


@pytest.fixture
def folder(tmp_path, train_settings):
    clips = list(np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), dtype=np.uint8))
    write_shards(tmp_path / "shards", {"train": clips}, 32)
    # An update with R1, whose second derivatives the compiler has not, before and after others.
    adversarial = train_settings.losses.adversarial
    r1 = adversarial.r1.model_copy(update={"weight": 1.0, "every_turns": 3})
    losses = train_settings.losses.model_copy(
        update={"adversarial": adversarial.model_copy(update={"r1": r1})}
    )
    settings = train_settings.model_copy(update={"losses": losses, "micro_batch_size": 2})
    (tmp_path / "train.json").write_text(settings.model_dump_json())
    return tmp_path


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_compiled_networks_train_to_the_same_weights_and_resume_bit_for_bit(folder, dtype):
    done = subprocess.run(
        [sys.executable, "-m", "tests.drills.compiled_training", str(folder), dtype],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder / "programs")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["is_compiled_otherwise"]
    if dtype == "float64":
        assert found["apart"] <= 1e-9
    assert found["share"] <= FLOAT32_TOLERANCE
    assert found["is_resumed_exactly"]
