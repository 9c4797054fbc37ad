import math

import torch

from lia_model.losses.terms import (
    discriminator_loss,
    generator_adversarial_loss,
    r1_penalty,
    reconstruction_loss,
)


def test_an_undecided_discriminator_costs_log_two_on_each_side():
    zero = torch.zeros(4, 1)
    torch.testing.assert_close(generator_adversarial_loss(zero), torch.tensor(math.log(2)))
    torch.testing.assert_close(discriminator_loss(zero, zero), torch.tensor(2 * math.log(2)))


def test_a_convincing_fake_costs_the_generator_nothing():
    assert generator_adversarial_loss(torch.full((4, 1), 50.0)) < 1e-6


def test_black_against_white_differs_by_two():
    image = torch.ones(1, 3, 4, 4)
    assert reconstruction_loss(image, -image) == 2


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
