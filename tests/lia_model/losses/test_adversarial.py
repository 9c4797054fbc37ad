import math

import torch

from lia_model.losses.adversarial import (
    build_adversarial,
    discriminator_loss,
    generator_adversarial_loss,
)
from lia_model.settings import AdversarialSettings


def test_an_undecided_discriminator_costs_log_two_on_each_side():
    zero = torch.zeros(4, 1)
    torch.testing.assert_close(generator_adversarial_loss(zero), torch.tensor(math.log(2)))
    torch.testing.assert_close(discriminator_loss(zero, zero), torch.tensor(2 * math.log(2)))


def test_a_convincing_fake_costs_the_generator_nothing():
    assert generator_adversarial_loss(torch.full((4, 1), 50.0)) < 1e-6


def test_both_terms_are_due_together_and_the_generators_weighs_as_much_as_one_of_every_step():
    settings = AdversarialSettings.model_validate(
        {"weight": 0.5, "start_step": 2, "every_steps": 4, "r1": {"weight": 10.0, "every_turns": 16}}
    )
    objective = build_adversarial(settings, torch.device("cpu"))
    (generator,), (discriminator,) = objective.generator, objective.discriminator
    for term in (generator, discriminator):
        assert [step for step in range(14) if term.is_due(step)] == [4, 8, 12]
    assert generator.factor == 4 * 0.5
    assert discriminator.factor == 1
