import pytest
import torch

from lia_model.ops.bias_act import bias_act
from lia_model.ops.modulated_conv2d import modulated_conv2d
from lia_model.ops.projection import color_projection, modulated_projection
from lia_model.ops.upfirdn2d import upsample
from tests.lia_model.ops.parity import TOLERANCE, drawn, dtypes, layouts


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("with_below", [False, True])
def test_a_projection_is_the_modulated_convolution_of_one_pixel(memory_format, with_below):
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64).contiguous(memory_format=memory_format)
    weight, style = torch.randn(3, 6, 1, 1, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    bias, below = torch.randn(3, dtype=torch.float64), torch.randn(2, 3, 2, 2, dtype=torch.float64)
    wanted = modulated_conv2d(x, weight, style, demodulate=False) + bias.view(1, 3, 1, 1)
    if with_below:
        wanted = wanted + upsample(below)
    got = modulated_projection(x, weight, style, bias, below if with_below else None)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_projection_of_half_precision_is_as_exact_as_its_input(dtype):
    x, weight = torch.randn(2, 64, 4, 4).to(dtype), torch.randn(3, 64, 1, 1)
    style, bias = torch.randn(2, 64) * 1e4, torch.randn(3)
    got = modulated_projection(x, weight, style, bias)
    wanted = modulated_projection(x.double(), weight.double(), style.double(), bias.double())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-6 * wanted.abs().max().item())


def test_colours_are_an_activated_convolution_a_second_bias_and_the_octave_below():
    x, weight, bias, shift = torch.randn(2, 5, 4, 4), torch.randn(3, 5, 1, 1), torch.randn(3), torch.randn(3)
    below = torch.randn(2, 3, 2, 2)
    product = torch.nn.functional.conv2d(x, weight)
    wanted = bias_act(product, bias, gain=1.0) + shift.view(1, 3, 1, 1) + upsample(below)
    torch.testing.assert_close(color_projection(x, weight, bias, shift, below), wanted)


def derived(device, dtype, layout, side, with_below, impl):
    x = drawn((2, 5, side, side), dtype, device, layout)
    weight, style, bias, below = (
        drawn(shape, torch.float32, device, seed=seed)
        for seed, shape in enumerate([(3, 5, 1, 1), (2, 5), (3,), (2, 3, side // 2, side // 2)], start=2)
    )
    inputs = [x, weight, style, bias, *([below] if with_below else [])]
    y = modulated_projection(x, weight, style, bias, below if with_below else None, impl)
    return y, *torch.autograd.grad(y, inputs, drawn(y.shape, y.dtype, device, seed=9))


@dtypes
@layouts
@pytest.mark.parametrize("with_below", [False, True])
def test_the_kernel_computes_what_its_reference_does(kernel_device, dtype, layout, with_below):
    chains = [derived(kernel_device, dtype, layout, 6, with_below, impl) for impl in ("reference", "fused")]
    for wanted, got in zip(*chains, strict=True):
        assert got.dtype == wanted.dtype
        tolerance = TOLERANCE[dtype] * max(1, wanted.abs().max().item())
        torch.testing.assert_close(got, wanted, atol=tolerance, rtol=0)
    exact, fused = (chain[0] for chain in chains)
    torch.testing.assert_close(fused, exact, atol=2e-5, rtol=0)


def test_the_kernel_of_more_than_a_tile(kernel_device):
    wanted, got = (
        derived(kernel_device, torch.float32, "channels_last", 34, True, impl)
        for impl in ("reference", "fused")
    )
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@dtypes
def test_the_kernel_of_colours(kernel_device, dtype):
    x, weight = drawn((2, 5, 6, 6), dtype, kernel_device), drawn((3, 5, 1, 1), dtype, kernel_device, seed=2)
    bias, shift = drawn((3,), dtype, kernel_device, seed=3), drawn((3,), torch.float32, kernel_device, seed=4)
    below = drawn((2, 3, 3, 3), torch.float32, kernel_device, seed=5)
    with torch.no_grad():
        wanted, got = (
            color_projection(x, weight, bias, shift, below, impl) for impl in ("reference", "fused")
        )
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, wanted.float(), atol=TOLERANCE[dtype] * wanted.abs().max().item(), rtol=0)


def test_torch_finds_the_operator_well_registered(kernel_device):
    x, weight = (
        drawn((2, 5, 4, 4), torch.float32, kernel_device),
        drawn((2, 3, 5), torch.float32, kernel_device),
    )
    bias, below = (drawn(shape, torch.float32, kernel_device) for shape in ((3,), (2, 3, 2, 2)))
    torch.library.opcheck(torch.ops.lia.projection, (x, weight, bias, None, below))
