"""The Inductor path of the animator, whose compilation takes a minute or more."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.drill

# The shape checks of the test run cannot be compiled, so this happens in a process without them.
IN_A_BARE_PROCESS = """
import numpy as np
from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings

settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
generator = build_generator(settings, 1)
frames = list(np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8))
plain, compiled = (Animator(generator, "cpu", "fp32", kind) for kind in ("none", "inductor"))
for source in (frames[0], frames[::-1]):
    one, other = (
        np.stack(list(each.animate(source, frames, "relative", 4))) for each in (plain, compiled)
    )
    assert other.shape == (6, 32, 32, 3), other.shape
    difference = np.abs(one.astype(int) - other.astype(int))
    assert difference.max() <= 1, difference.max()
"""


def test_compiled_frames_are_the_same_also_in_the_last_smaller_batch():
    done = subprocess.run([sys.executable, "-c", IN_A_BARE_PROCESS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
