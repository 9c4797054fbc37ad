import math

import torch

from lia_model.losses.adversarial import discriminator_loss, generator_adversarial_loss


def test_an_undecided_discriminator_costs_log_two_on_each_side():
    zero = torch.zeros(4, 1)
    torch.testing.assert_close(generator_adversarial_loss(zero), torch.tensor(math.log(2)))
    torch.testing.assert_close(discriminator_loss(zero, zero), torch.tensor(2 * math.log(2)))


def test_a_convincing_fake_costs_the_generator_nothing():
    assert generator_adversarial_loss(torch.full((4, 1), 50.0)) < 1e-6
