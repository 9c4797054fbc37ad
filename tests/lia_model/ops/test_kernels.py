"""Every fused kernel computes what its reference does, and is a well-registered operator of torch."""

import pytest
import torch

from lia_model.ops.bias_act import bias_act, conv_act
from lia_model.ops.modulated_conv2d import modulated_conv2d
from lia_model.ops.upfirdn2d import blur, upsample
from lia_model.ops.warp import flow_warp, identity_grid
from tests.lia_model.ops.parity import assert_same, drawn, dtypes, layouts


@dtypes
@layouts
@pytest.mark.parametrize("scaled", [False, True])
def test_bias_act(kernel_device, dtype, layout, scaled):
    x = drawn((2, 5, 3, 7), dtype, kernel_device, layout)
    inputs = [x, drawn((5,), torch.float32, kernel_device, seed=2)]
    if scaled:
        inputs.append(
            (drawn((2, 5), torch.float32, kernel_device, seed=3).detach().sigmoid() + 0.5).requires_grad_()
        )
    assert_same(lambda *inputs: bias_act(*inputs[:-1], impl=inputs[-1]), inputs, second=True)


def test_bias_act_of_features(kernel_device):
    inputs = [drawn((3, 6), torch.float32, kernel_device), drawn((6,), torch.float32, kernel_device, seed=2)]
    assert_same(lambda x, bias, impl: bias_act(x, bias, impl=impl), inputs, second=True)


def test_bias_act_of_more_than_a_tile(kernel_device):
    inputs = [
        drawn((1, 3, 33, 65), torch.float32, kernel_device, "channels_last"),
        drawn((3,), torch.float32, kernel_device, seed=2),
    ]
    assert_same(lambda x, bias, impl: bias_act(x, bias, impl=impl), inputs)


@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
def test_conv_act(kernel_device, layout):
    inputs = [
        drawn((2, 3, 6, 5), torch.float32, kernel_device, layout),
        drawn((4, 3, 3, 3), torch.float32, kernel_device, seed=2),
        drawn((4,), torch.float32, kernel_device, seed=3),
    ]
    assert_same(lambda *args: conv_act(*args[:3], stride=2, padding_px=1, impl=args[3]), inputs, second=True)


RESAMPLINGS = {
    "before_a_stride": lambda x, impl: blur(x, (2, 2), impl=impl),
    "of_a_skip": lambda x, impl: blur(x, (1, 1), stride=2, impl=impl),
    "uneven_padding": lambda x, impl: blur(x, (2, 1), gain=4.0, impl=impl),
    "upsample": upsample,
}


@pytest.mark.parametrize("op", RESAMPLINGS.values(), ids=RESAMPLINGS)
@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
def test_upfirdn2d(kernel_device, op, layout):
    assert_same(op, [drawn((2, 2, 5, 4), torch.float32, kernel_device, layout)], second=True)


@dtypes
def test_upfirdn2d_of_a_strided_single_image(kernel_device, dtype):
    assert_same(RESAMPLINGS["of_a_skip"], [drawn((1, 3, 5, 3), dtype, kernel_device, "strided")])


def test_upfirdn2d_of_more_than_a_tile(kernel_device):
    assert_same(
        RESAMPLINGS["of_a_skip"], [drawn((1, 20, 39, 55), torch.float32, kernel_device, "channels_last")]
    )


@dtypes
@layouts
def test_flow_warp(kernel_device, dtype, layout):
    flow = drawn((2, 3, 5, 5), torch.float32, kernel_device, seed=2)
    feature, x = (drawn((2, 6, 5, 5), dtype, kernel_device, layout, seed=seed) for seed in (3, 4))
    grid = identity_grid(5).to(kernel_device)
    assert_same(lambda x, feature, flow, impl: flow_warp(flow, feature, x, grid, impl), [x, feature, flow])


def test_flow_warp_of_more_than_a_tile_and_one_feature_for_the_whole_batch(kernel_device):
    flow = drawn((2, 3, 33, 33), torch.float32, kernel_device, seed=2)
    feature = drawn((1, 3, 33, 33), torch.float32, kernel_device, "channels_last", seed=3)
    x = drawn((2, 3, 33, 33), torch.float32, kernel_device, "channels_last", seed=4)
    grid = identity_grid(33).to(kernel_device)
    assert_same(
        lambda x, feature, flow, impl: flow_warp(flow, feature.expand(2, -1, -1, -1), x, grid, impl),
        [x, feature, flow],
    )


@pytest.mark.parametrize(("demodulate", "upsample"), [(True, True), (True, False), (False, False)])
def test_modulated_conv2d(kernel_device, demodulate, upsample):
    inputs = [
        drawn((2, 3, 4, 5), torch.float32, kernel_device, "channels_last"),
        drawn((4, 3, 3, 3), torch.float32, kernel_device, seed=2),
        drawn((2, 3), torch.float32, kernel_device, seed=3),
        drawn((4,), torch.float32, kernel_device, seed=4),
    ]
    assert_same(
        lambda *args: modulated_conv2d(*args[:4], demodulate=demodulate, upsample=upsample, impl=args[4]),
        inputs,
    )


def registered_calls(device):
    """One call of each registered operator, with and without its optional arguments."""
    x = drawn((2, 3, 4, 5), torch.float32, device, "channels_last")
    square = drawn((2, 3, 4, 4), torch.float32, device)
    bias, scale = drawn((3,), torch.float32, device), drawn((2, 3), torch.float32, device)
    grid = identity_grid(4).to(device)
    return {
        "bias_act": (x, bias, None, 1.5),
        "bias_act_grad": (x, x.detach(), scale, 1.5),
        "upfirdn2d": (x, 2, 1, 2, 8, 10, 4.0),
        "flow_warp": (square, square, square, grid),
    }


@pytest.mark.parametrize("name", ["bias_act", "bias_act_grad", "upfirdn2d", "flow_warp"])
def test_torch_finds_the_operator_well_registered(kernel_device, name):
    """Its schema, shape function and gradients hold under fake tensors, as torch.compile needs them."""
    torch.library.opcheck(getattr(torch.ops.lia, name), registered_calls(kernel_device)[name])
