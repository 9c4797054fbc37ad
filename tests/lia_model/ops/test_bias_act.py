import math

import torch
from torch.nn import functional

from lia_model.ops.bias_act import GAIN, bias_act, conv_act


def test_positive_values_are_shifted_and_scaled_by_root_two():
    x = torch.rand(2, 3, 4, 4)
    bias = torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(bias_act(x, bias), (x + bias.view(1, 3, 1, 1)) * math.sqrt(2))


def test_negative_values_keep_a_fifth():
    x = -torch.rand(5, 3) - 0.1
    torch.testing.assert_close(bias_act(x, torch.zeros(3)), x * 0.2 * math.sqrt(2))


def test_each_sample_is_scaled_before_the_bias():
    x, scale, bias = torch.randn(2, 3, 4, 4), torch.rand(2, 3) + 0.5, torch.randn(3)
    wanted = bias_act(x * scale[:, :, None, None], bias, gain=3.0)
    torch.testing.assert_close(bias_act(x, bias, scale, gain=3.0), wanted)


def test_a_gain_in_weight_and_bias_is_the_gain_of_the_activation():
    x, weight, bias = torch.randn(2, 3, 6, 6), torch.randn(4, 3, 3, 3), torch.randn(4)
    wanted = bias_act(functional.conv2d(x, weight, stride=2, padding=1), bias)
    torch.testing.assert_close(conv_act(x, weight * GAIN, bias * GAIN, stride=2, padding_px=1), wanted)


def test_the_input_is_overwritten_only_where_no_gradient_needs_it():
    x, bias, scale = torch.randn(1, 3, 4, 4), torch.randn(3), torch.ones(1, 3)
    before = x.clone()
    wanted = bias_act(x, bias, scale, overwrite=True)
    assert torch.equal(x, before)
    with torch.no_grad():
        assert torch.equal(bias_act(x, bias, scale), wanted)
        assert torch.equal(x, before)
        y = bias_act(x, bias, scale, overwrite=True)
    assert torch.equal(y, wanted)
    assert y.data_ptr() == x.data_ptr()
