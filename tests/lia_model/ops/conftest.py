"""Where fused kernels run in these tests: on a GPU where there is one, else in Triton's interpreter."""

import os
import sys

import pytest

from tests.lia_model.ops.interpreter import ON_GPU, needs_interpreter

if not ON_GPU:
    # Triton reads the variable when it is imported (this part of it only at the first launch); left set, it
    # would reach the processes that tests start.
    assert "triton" not in sys.modules, "something imported Triton before these tests could choose"
    os.environ["TRITON_INTERPRET"] = "1"
    import triton.experimental.gluon  # noqa: F401

    import lia_model.ops.kernels.bias_act
    import lia_model.ops.kernels.l1
    import lia_model.ops.kernels.projection
    import lia_model.ops.kernels.upfirdn2d
    import lia_model.ops.kernels.warp  # noqa: F401

    del os.environ["TRITON_INTERPRET"]


@pytest.fixture(
    params=[
        pytest.param(
            "cpu",
            marks=[
                pytest.mark.skipif(ON_GPU, reason="kernels are compiled for the GPU here"),
                needs_interpreter,
            ],
        ),
        pytest.param(
            "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")]
        ),
    ]
)
def kernel_device(request) -> str:
    return request.param
