import numpy as np
import pytest
import torch
from torch.nn import functional

from lia_model.ops.warp import flow_warp, identity_grid


def test_the_grid_runs_from_corner_to_corner_x_first():
    grid = identity_grid(8)
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[0, -1].tolist() == [1, -1]
    np.testing.assert_array_equal(grid[3, :, 0].numpy(), np.linspace(-1, 1, 8).astype(np.float32))


def test_a_closed_mask_lets_nothing_of_the_feature_through():
    flow = torch.zeros(1, 3, 8, 8)
    flow[:, 2] = -1e4
    x = torch.randn(1, 2, 8, 8)
    warped, blended = flow_warp(flow, torch.randn(1, 2, 8, 8), x, identity_grid(8))
    assert not warped.any()
    torch.testing.assert_close(blended, x)


def test_an_open_mask_and_no_flow_sample_at_the_identity_grid():
    flow = torch.zeros(2, 3, 8, 8)
    flow[:, 2] = 1e4
    feature = torch.randn(2, 4, 8, 8)
    warped, blended = flow_warp(flow, feature, torch.randn(2, 4, 8, 8), identity_grid(8))
    wanted = functional.grid_sample(
        feature, identity_grid(8).expand(2, 8, 8, 2), padding_mode="zeros", align_corners=False
    )
    torch.testing.assert_close(warped, wanted)
    torch.testing.assert_close(blended, wanted)


def test_half_precision_features_are_sampled_on_an_exact_grid():
    flow = torch.randn(1, 3, 64, 64)
    feature = torch.randn(1, 1, 64, 64).bfloat16()
    exact, _ = flow_warp(flow, feature.float(), feature.float(), identity_grid(64))
    half, _ = flow_warp(flow, feature, feature, identity_grid(64))
    assert (half.float() - exact).abs().max() < 0.05


def in_channels_last(*tensors):
    return [x.contiguous(memory_format=torch.channels_last).requires_grad_() for x in tensors]


def derived(flow, feature, x):
    outputs = flow_warp(flow, feature, x, identity_grid(x.shape[-1]))
    total = outputs[0].square().sum() + outputs[1].sum()
    return *outputs, *torch.autograd.grad(total, (flow, feature, x))


@pytest.mark.parametrize("strength", [0.2, 3.0], ids=["inside", "across_the_border"])
@pytest.mark.parametrize("batch", [1, 3])
def test_channels_last_changes_nothing_but_the_layout(strength, batch):
    flow = strength * torch.randn(batch, 3, 9, 9, dtype=torch.float64)
    feature, x = torch.randn(2, batch, 5, 9, 9, dtype=torch.float64)
    wanted = derived(*(value.clone().requires_grad_() for value in (flow, feature, x)))
    got = derived(*in_channels_last(flow, feature, x))
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in got[:2])


def test_one_feature_may_serve_a_whole_batch():
    flow, x = torch.randn(3, 3, 8, 8), torch.randn(3, 4, 8, 8)
    feature = torch.randn(1, 4, 8, 8)
    wanted = flow_warp(flow, feature.repeat(3, 1, 1, 1), x, identity_grid(8))
    with torch.no_grad():
        flow, feature, x = in_channels_last(flow, feature, x)
        got = flow_warp(flow, feature.expand(3, -1, -1, -1), x, identity_grid(8))
    torch.testing.assert_close(got, wanted)


def test_the_layout_is_that_of_what_is_blended_over():
    flow, feature, x = torch.zeros(1, 3, 8, 8), torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    (x,) = in_channels_last(x)
    for y in flow_warp(flow, feature, x, identity_grid(8)):
        assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_flow_that_is_not_a_number_gives_what_is_not_a_number():
    flow, feature, x = in_channels_last(torch.zeros(1, 3, 8, 8), *torch.randn(2, 1, 4, 8, 8))
    with torch.no_grad():
        flow[0, 0, 2, 3] = torch.nan
        warped, _ = flow_warp(flow, feature, x, identity_grid(8))
    assert warped[0, :, 2, 3].isnan().all()
    assert warped.isnan().sum() == 4
