import math

import torch

from lia_model.ops.bias_act import bias_act


def test_positive_values_are_shifted_and_scaled_by_root_two():
    x = torch.rand(2, 3, 4, 4)
    bias = torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(bias_act(x, bias), (x + bias.view(1, 3, 1, 1)) * math.sqrt(2))


def test_negative_values_keep_a_fifth():
    x = -torch.rand(5, 3) - 0.1
    torch.testing.assert_close(bias_act(x, torch.zeros(3)), x * 0.2 * math.sqrt(2))
