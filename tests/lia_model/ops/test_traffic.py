"""Backward passes move hardly more bytes than their gradients need, and a frame takes few launches."""

import pytest
import torch

from lia_model.inference import InferenceModel
from lia_model.networks.build import build_generator
from lia_model.networks.modulation import in_a_row
from lia_model.ops.bias_act import bias_act
from lia_model.ops.projection import modulated_projection
from lia_model.ops.upfirdn2d import blur, upsample
from lia_model.ops.warp import flow_warp, identity_grid
from lia_model.settings import NetworkSettings
from tests.lia_model.ops.traffic import counted, size_bytes

SIDE = 32
LAYOUT = torch.channels_last


def drawn(*shape, dtype=torch.bfloat16):
    x = torch.randn(shape).to(dtype)
    return (x.contiguous(memory_format=LAYOUT) if x.ndim == 4 else x).requires_grad_()


def backward_bytes(monkeypatch, op, inputs):
    """The bytes that the backward pass moves, and those of the outputs' gradients."""
    with counted(monkeypatch):
        outputs = op(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    gradients = [torch.empty_like(y) for y in outputs]
    with counted(monkeypatch) as traffic:
        torch.autograd.grad(outputs, inputs, gradients)
    return traffic.num_bytes, sum(map(size_bytes, gradients))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
@pytest.mark.parametrize("scaled", [False, True])
def test_bias_act(monkeypatch, dtype, scaled):
    x, bias = drawn(4, 64, SIDE, SIDE, dtype=dtype), drawn(64, dtype=torch.float32)
    inputs = [x, bias, drawn(4, 64, dtype=torch.float32)] if scaled else [x, bias]
    moved, given = backward_bytes(monkeypatch, bias_act, inputs)
    # The gradient, the output for its signs, and the gradient of x; for that of the scale also x.
    assert moved <= 1.3 * given * (4 if scaled else 3)


@pytest.mark.parametrize("op", [upsample, lambda x: blur(x, (1, 1), stride=2)], ids=["up", "down"])
def test_resampling(monkeypatch, op):
    x = drawn(4, 64, SIDE, SIDE)
    moved, given = backward_bytes(monkeypatch, op, [x])
    assert moved == given + size_bytes(x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
@pytest.mark.parametrize("last", [False, True], ids=["blended", "in_the_last_octave"])
def test_flow_warp(monkeypatch, dtype, last):
    feature, x = (drawn(4, 64, SIDE, SIDE, dtype=dtype) for _ in range(2))
    flow = drawn(4, 3, SIDE, SIDE, dtype=torch.float32)
    inputs = [feature, flow] if last else [feature, flow, x]

    def op(feature, flow, x=x):
        warped, blended = flow_warp(flow, feature, x, identity_grid(SIDE))
        return warped if last else (warped, blended)

    moved, given = backward_bytes(monkeypatch, op, inputs)
    # The outputs' gradients; all inputs that take part, read, and their gradients written. The feature's are
    # summed in float32, set to zero before and, where they are narrower, rounded after.
    needed = given + 2 * sum(map(size_bytes, inputs))
    needed += feature.numel() * 4 * (1 if dtype == torch.float32 else 3)
    assert moved <= 1.05 * needed


def test_the_counted_bytes_include_the_copies_of_a_gradient_in_another_layout(monkeypatch):
    x, bias = drawn(4, 64, SIDE, SIDE), drawn(64, dtype=torch.float32)
    with counted(monkeypatch):
        y = bias_act(x, bias)
    with counted(monkeypatch) as alike:
        torch.autograd.grad(y, [x, bias], torch.empty_like(y), retain_graph=True)
    with counted(monkeypatch) as other:
        torch.autograd.grad(y, [x, bias], torch.empty(y.shape, dtype=y.dtype))
    assert other.num_bytes - alike.num_bytes >= 2 * size_bytes(y)


def test_the_gradients_of_a_projection_read_and_write_its_input_once(monkeypatch):
    x = drawn(4, 64, SIDE, SIDE)
    few = [drawn(*shape, dtype=torch.float32) for shape in ((3, 64, 1, 1), (4, 64), (3,))]
    moved, given = backward_bytes(monkeypatch, modulated_projection, [x, *few])
    # The gradient of three channels is read as often as it is used, and in the type of x.
    assert moved <= 1.3 * (2 * size_bytes(x) + 3 * given)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"]
)
def test_a_frame_takes_few_launches(monkeypatch, dtype):
    settings = NetworkSettings(size_px=256, width=0.02, latent_dim=16, num_directions=4)
    model = InferenceModel(build_generator(settings), dtype)
    image = torch.zeros(1, 3, 256, 256)
    with torch.no_grad():
        code, features = model.encode(image)
        with counted(monkeypatch) as traffic:
            model.paint_bytes(model.weigh_images(image), code, *features)
    assert len(traffic.launches) <= 160
    assert traffic.launches.count("aten::convolution") == 33


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_of_two_layers_in_a_row_the_second_is_modulated_by_the_activation_of_the_first(monkeypatch, dtype):
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    synthesis = InferenceModel(build_generator(settings), dtype).synthesis
    block = synthesis.blocks[0]
    x = drawn(2, block.up.conv.weight.shape[1], 4, 4, dtype=dtype)
    with torch.no_grad():
        _, *of_both = synthesis.modulate(torch.randn(2, 16))[:3]
        with counted(monkeypatch) as traffic:
            in_a_row(block.up, block.conv, x, of_both)
    assert traffic.launches.count("aten::mul") == 1
    assert traffic.launches.count("_forward_kernel") == 2
