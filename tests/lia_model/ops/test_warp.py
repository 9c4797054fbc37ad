import numpy as np
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
