import torch

from lia_model.losses.r1_penalty import build_r1, r1_penalty
from lia_model.settings import AdversarialSettings


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


def test_the_penalty_is_due_at_every_nth_update_of_the_discriminator_with_n_times_half_its_weight():
    settings = AdversarialSettings.model_validate(
        {"weight": 1.0, "start_step": 5, "every_steps": 4, "r1": {"weight": 10.0, "every_turns": 3}}
    )
    (term,) = build_r1(settings, torch.device("cpu")).discriminator
    assert [step for step in range(40) if term.is_due(step)] == [12, 24, 36]
    assert term.factor == 3 * 10 / 2
    assert term.needs_image_gradient
