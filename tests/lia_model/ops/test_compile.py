import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lia_model.ops.interpreter import FITS, ON_GPU, WHY_NOT


def python(*arguments, **variables):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[3],
        env=os.environ | variables,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "implementation",
    [
        "reference",
        pytest.param("fused", marks=pytest.mark.skipif(not (ON_GPU or FITS), reason=WHY_NOT)),
    ],
)
def test_ops_and_networks_compile_without_a_graph_break_and_compute_the_same(implementation):
    interpret = {} if ON_GPU else {"TRITON_INTERPRET": "1"}
    python("-m", "tests.lia_model.ops.compiled", implementation, **interpret)


def test_kernels_compile_for_a_gpu_that_is_not_here_and_their_additions_wait_for_nothing(tmp_path):
    hopper = "90"
    told = python("-m", "tests.lia_model.ops.compiled_for_gpu", hopper, TRITON_CACHE_DIR=str(tmp_path))
    instructions = json.loads(told)
    gradient = instructions.pop("warp._backward_kernel")
    # RED adds and returns nothing. A fence (MEMBAR) before each made this kernel several times as slow.
    assert set(gradient) == {"RED"}
    assert instructions
    assert not any(instructions.values())


def test_networks_run_on_the_cpu_without_importing_triton_or_the_compiler():
    python(
        "-c",
        "import sys, torch\n"
        "hidden = ('triton', 'torch._dynamo', 'torch._inductor')\n"
        "assert not [name for name in hidden if name in sys.modules]\n"
        "sys.modules.update(dict.fromkeys(hidden))  # importing one of them raises\n"
        "from lia_model.networks.build import build_discriminator, build_generator\n"
        "from lia_model.settings import NetworkSettings\n"
        "network = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)\n"
        "fake = build_generator(network)(*torch.rand(2, 1, 3, 32, 32))\n"
        "build_discriminator(network)(fake).sum().backward()\n",
    )
