"""Animates noise with the checkpoint in the folder of the first argument: the smallest use of a model."""

import sys

import numpy as np

from lia_model.animator import Animator

if __name__ == "__main__":
    animator = Animator.load(sys.argv[1], device="cpu", precision="fp32")
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    assert len(list(animator.animate(noise[0], noise))) == 3
