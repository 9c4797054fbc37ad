import torch

from lia_model.losses.r1_penalty import r1_penalty


def test_r1_of_a_linear_critic_is_its_squared_slope():
    slope = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    real = torch.zeros(5, 3, 4, 4, requires_grad=True)
    logits = (real * slope).sum(dim=(1, 2, 3))[:, None]
    torch.testing.assert_close(r1_penalty(real, logits), slope.square().sum())


def test_r1_can_be_differentiated_by_the_critics_weights():
    slope = torch.ones(3, 4, 4, requires_grad=True)
    real = torch.zeros(2, 3, 4, 4, requires_grad=True)
    r1_penalty(real, (real * slope).sum(dim=(1, 2, 3))[:, None]).backward()
    torch.testing.assert_close(slope.grad, torch.full((3, 4, 4), 2.0))
