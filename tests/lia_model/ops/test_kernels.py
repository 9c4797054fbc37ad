"""Every fused kernel computes what its reference does, and is a well-registered operator of torch."""

import ast
from pathlib import Path

import pytest
import torch

from lia_model.ops import kernels
from lia_model.ops.bias_act import bias_act, conv_act
from lia_model.ops.modulated_conv2d import modulated_conv2d
from lia_model.ops.upfirdn2d import blur, upsample
from lia_model.ops.warp import flow_warp, identity_grid
from tests.lia_model.ops.parity import TOLERANCE, assert_same, drawn, dtypes, layout_of, layouts


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


@dtypes
@layouts
@pytest.mark.parametrize("scaled", [False, True])
def test_bias_act_times_a_factor_without_gradients(kernel_device, dtype, layout, scaled):
    x = drawn((2, 5, 3, 7), dtype, kernel_device, layout)
    bias, scale, after = (
        drawn(shape, torch.float32, kernel_device, seed=seed)
        for seed, shape in ((2, (5,)), (3, (2, 5)), (4, (2, 5)))
    )
    with torch.no_grad():
        wanted, got = (
            bias_act(x, bias, scale if scaled else None, after=after, impl=impl)
            for impl in ("reference", "fused")
        )
    tolerance = TOLERANCE[dtype] * max(1, wanted.abs().max().item())
    assert layout_of(got) == layout_of(x)
    torch.testing.assert_close(got, wanted, atol=tolerance, rtol=0)


def test_bias_act_times_a_factor_has_all_gradients(kernel_device):
    inputs = [
        drawn(shape, torch.float32, kernel_device, seed=seed)
        for seed, shape in enumerate(((2, 5, 3, 7), (5,), (2, 5), (2, 5)))
    ]
    assert_same(
        lambda x, bias, scale, after, impl: bias_act(x, bias, scale, after=after, impl=impl),
        inputs,
        second=True,
    )


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


def warp_gradients(device, order):
    """The feature's gradient where every pixel samples the same place, its pixels taken in another order."""
    values = torch.randn(1, 3, 16 * 16, generator=torch.Generator().manual_seed(0)).exp()[..., order]
    feature, x = torch.zeros(2, 1, 3, 16, 16, device=device)
    feature.requires_grad_()
    warped, _ = flow_warp(
        torch.zeros(1, 3, 16, 16, device=device), feature, x, torch.zeros(16, 16, 2, device=device), "fused"
    )
    return torch.autograd.grad(warped, feature, values.view_as(x).to(device))[0]


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_gradients_of_a_feature_do_not_depend_on_the_order_of_their_sums(
    kernel_device, deterministic
):
    straight, mixed = (warp_gradients(kernel_device, order) for order in (slice(None), torch.randperm(256)))
    assert torch.equal(straight, mixed)
    torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(warp_gradients(kernel_device, slice(None)), straight)


@dtypes
def test_deterministic_flow_warp(kernel_device, dtype, deterministic):
    flow = drawn((2, 3, 5, 5), torch.float32, kernel_device, seed=2)
    feature, x = (drawn((2, 6, 5, 5), dtype, kernel_device, "channels_last", seed=seed) for seed in (3, 4))
    grid = identity_grid(5).to(kernel_device)
    assert_same(lambda x, feature, flow, impl: flow_warp(flow, feature, x, grid, impl), [x, feature, flow])


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # numpy's, in the interpreter
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_deterministic_gradient_that_is_not_finite_stays_so(kernel_device, deterministic, wrong):
    feature = torch.randn(1, 3, 4, 4, device=kernel_device, requires_grad=True)
    flow, x = torch.zeros(1, 3, 4, 4, device=kernel_device), torch.zeros(1, 3, 4, 4, device=kernel_device)
    warped, _ = flow_warp(flow, feature, x, identity_grid(4).to(kernel_device), "fused")
    (gradient,) = torch.autograd.grad(warped, feature, torch.full_like(x, wrong))
    assert not gradient.isfinite().any()


@pytest.mark.parametrize("used", [0, 1], ids=["warped", "blended"])
def test_flow_warp_of_which_one_output_is_used(kernel_device, used):
    flow = drawn((2, 3, 5, 5), torch.float32, kernel_device, seed=2)
    feature, x = (drawn((2, 6, 5, 5), torch.float32, kernel_device, seed=seed) for seed in (3, 4))
    grid = identity_grid(5).to(kernel_device)
    results = []
    for impl in ("reference", "fused"):
        y = flow_warp(flow, feature, x, grid, impl)[used]
        results.append(torch.autograd.grad(y.square().sum(), [flow, feature, x], materialize_grads=True))
    torch.testing.assert_close(*results)


def launches():
    """Every launch `kernel[grid](...)` in the source, with the statements that it stands in."""
    for path in sorted(Path(kernels.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
                around = [node]
                while around[-1] in parents:
                    around.append(parents[around[-1]])
                yield (
                    ast.unparse(node.func),
                    [ast.unparse(item.items[0]) for item in around if isinstance(item, ast.With)],
                )


def test_every_kernel_is_launched_on_the_gpu_of_its_tensors():
    found = dict(launches())
    assert len(found) == 8
    assert all(any(context.startswith("on_device(") for context in around) for around in found.values())


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_kernels_run_on_a_second_gpu_while_the_first_is_current():
    x = torch.randn(2, 3, 8, 8, device="cuda:1", requires_grad=True)
    bias, flow = torch.randn(3, device="cuda:1"), torch.zeros(2, 3, 8, 8, device="cuda:1")
    y = bias_act(upsample(blur(x, (2, 1))), bias)[:, :, :8, :8].contiguous()
    sum(flow_warp(flow, y, y, identity_grid(8).to("cuda:1"))).sum().backward()
    torch.cuda.synchronize("cuda:1")
    assert torch.cuda.current_device() == 0
    assert x.grad.isfinite().all()


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
        "bias_act_grad": (x, x.detach(), x, scale, 1.5, True),
        "upfirdn2d": (x, 2, 1, 2, 8, 10, 4.0),
        "flow_warp": (square, square, square, grid),
        "sum_of_l1": ([x, square], [x.detach() + 1, square.detach() - 1]),
    }


@pytest.mark.parametrize("name", ["bias_act", "bias_act_grad", "upfirdn2d", "flow_warp", "sum_of_l1"])
def test_torch_finds_the_operator_well_registered(kernel_device, name):
    """Its schema, shape function and gradients hold under fake tensors, as torch.compile needs them."""
    torch.library.opcheck(getattr(torch.ops.lia, name), registered_calls(kernel_device)[name])
