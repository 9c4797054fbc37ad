import pytest
import torch

from lia_model.losses.terms import LossTerm, Objective, build_objective
from lia_model.settings import OptimizerSettings
from lia_model.training.state import new_state
from lia_model.training.step import Networks, learning_rate_factor, training_step, weighted_sum

CPU = torch.device("cpu")
NO_AUTOCAST = torch.autocast("cpu", torch.bfloat16, enabled=False)


def networks_of(state, max_gradient_norm=None):
    return Networks(
        state.generator,
        state.discriminator,
        state.generator_optimizer,
        state.discriminator_optimizer,
        max_gradient_norm,
    )


@pytest.fixture
def networks(train_settings):
    return networks_of(new_state(train_settings, 32, CPU))


def take(networks, settings, step=0, autocast=NO_AUTOCAST):
    images = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(step)) * 2 - 1
    objective = build_objective(settings.losses, CPU)
    return training_step(networks, *images, step=step, objective=objective, autocast=autocast)


def test_one_step_changes_both_networks(networks, train_settings):
    before = [p.clone() for p in (*networks.generator.parameters(), *networks.discriminator.parameters())]
    values = take(networks, train_settings)
    after = [*networks.generator.parameters(), *networks.discriminator.parameters()]
    assert set(values) == {"l1", "generator_adversarial", "discriminator"}
    assert sum(torch.equal(a, b) for a, b in zip(before, after, strict=True)) == 0


def test_the_discriminator_stays_as_it_is_between_its_updates(networks, train_settings):
    adversarial = train_settings.losses.adversarial.model_copy(update={"start_step": 2, "every_steps": 3})
    losses = train_settings.losses.model_copy(update={"adversarial": adversarial})
    settings = train_settings.model_copy(update={"losses": losses})
    before = [p.clone() for p in networks.discriminator.parameters()]
    due = {step: "discriminator" in take(networks, settings, step) for step in (0, 1, 2)}
    assert due == {0: False, 1: False, 2: False}
    assert all(torch.equal(a, b) for a, b in zip(before, networks.discriminator.parameters(), strict=True))
    assert set(take(networks, settings, 3)) == {"l1", "generator_adversarial", "discriminator"}
    assert not all(
        torch.equal(a, b) for a, b in zip(before, networks.discriminator.parameters(), strict=True)
    )


def lazy_perceptual(train_settings, models, weight, every_steps):
    """Settings with nothing but a perceptual term, in float32."""
    perceptual = train_settings.losses.perceptual.model_copy(
        update={"weights": models / "vgg16.safetensors", "weight": weight, "every_steps": every_steps}
    )
    adversarial = train_settings.losses.adversarial.model_copy(update={"weight": 0.0})
    losses = train_settings.losses.model_copy(
        update={"l1_weight": 0.0, "perceptual": perceptual, "adversarial": adversarial}
    )
    return train_settings.model_copy(update={"losses": losses})


def test_a_lazy_term_counts_as_often_as_it_is_left_out(train_settings, models):
    """A term of every third step has, in that step, the gradient of three steps."""

    def gradients(weight, every_steps):
        networks = networks_of(new_state(train_settings, 32, CPU))
        values = take(networks, lazy_perceptual(train_settings, models, weight, every_steps))
        assert "perceptual_vgg16" in values
        return torch.cat([p.grad.flatten() for p in networks.generator.parameters()])

    lazy, always, tripled = gradients(2.0, 3), gradients(2.0, 1), gradients(6.0, 1)
    assert always.norm() > 0
    torch.testing.assert_close(lazy, 3 * always, rtol=1e-3, atol=1e-6 * float(always.abs().max()))
    torch.testing.assert_close(lazy, tripled, rtol=0, atol=0)


def test_a_lazy_term_is_left_out_between(networks, train_settings, models):
    settings = lazy_perceptual(train_settings, models, 2.0, 2)
    names = ["perceptual_vgg16" in take(networks, settings, step) for step in range(4)]
    assert names == [True, False, True, False]


def test_a_loss_is_the_sum_of_its_due_terms_times_their_factors():
    terms = [
        LossTerm("a", lambda x: x, 2.0),
        LossTerm("b", lambda x: x.square(), 0.5, every_steps=2),
        LossTerm("late", lambda x: x, 100.0, start_step=9),
    ]
    x = torch.tensor(3.0)
    loss, values = weighted_sum(terms, x, 2)
    assert float(loss) == 2 * 3 + 0.5 * 9
    assert {name: float(value) for name, value in values.items()} == {"a": 3, "b": 9}
    loss, values = weighted_sum(terms, x, 3)
    assert (float(loss), set(values)) == (6, {"a"})
    with pytest.raises(ValueError, match="no loss term that is due at step 0"):
        weighted_sum([], x, 0)


def test_a_generator_alone_is_trained_without_discriminator_terms(networks):
    objective = Objective(generator=(LossTerm("x", lambda outputs: outputs.fake.square().mean(), 1.0),))
    images = torch.rand(2, 4, 3, 32, 32)
    before = [p.clone() for p in networks.discriminator.parameters()]
    values = training_step(networks, *images, step=0, objective=objective, autocast=NO_AUTOCAST)
    assert set(values) == {"x"}
    assert all(torch.equal(a, b) for a, b in zip(before, networks.discriminator.parameters(), strict=True))


def test_bf16_computes_close_to_fp32(train_settings):
    def values(autocast):
        return take(networks_of(new_state(train_settings, 32, CPU)), train_settings, autocast=autocast)

    exact = values(NO_AUTOCAST)
    half = values(torch.autocast("cpu", torch.bfloat16))
    for name in exact:
        assert half[name].dtype == torch.float32
        assert abs(half[name] - exact[name]) < 0.05 * abs(exact[name])


def test_the_learning_rate_rises_stays_and_falls():
    settings = OptimizerSettings(
        generator_lr=1, discriminator_lr=1, warmup_steps=4, decay_steps=4, max_gradient_norm=None
    )
    factors = [learning_rate_factor(step, 12, settings) for step in range(12)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1, 1]
    assert factors[8] == 1
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert 0 < factors[11] < 0.2


def test_the_published_rate_is_constant():
    settings = OptimizerSettings.model_validate("paper")
    assert settings.generator_lr == settings.discriminator_lr == 0.002
    assert {learning_rate_factor(step, 5, settings) for step in range(5)} == {1.0}


def test_an_unknown_name_of_an_optimiser_is_refused():
    with pytest.raises(ValueError, match="got optimizer 'adamw'; allowed are 'paper' and a mapping"):
        OptimizerSettings.model_validate("adamw")


def with_r1(settings, **given):
    adversarial = settings.losses.adversarial
    adversarial = adversarial.model_copy(update={"r1": adversarial.r1.model_copy(update=given)})
    return settings.model_copy(
        update={"losses": settings.losses.model_copy(update={"adversarial": adversarial})}
    )


def test_r1_enters_every_nth_update_and_changes_the_discriminator_alone(train_settings):
    def after(settings, num_steps):
        state = new_state(settings, 32, CPU)
        names = [set(take(networks_of(state), settings, step)) for step in range(num_steps)]
        return names, state

    penalised = with_r1(train_settings, weight=10.0, every_turns=3)
    names, _ = after(penalised, 4)
    assert ["r1" in each for each in names] == [True, False, False, True]
    _, with_penalty = after(penalised, 1)
    _, without = after(train_settings, 1)
    same = [
        [torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)]
        for one, two in (
            (with_penalty.generator, without.generator),
            (with_penalty.discriminator, without.discriminator),
        )
    ]
    assert all(same[0])
    assert not all(same[1])


def test_the_penalty_is_computed_in_full_precision_under_autocast(networks, train_settings):
    settings = with_r1(train_settings, weight=1.0, every_turns=1)
    values = take(networks, settings, autocast=torch.autocast("cpu", torch.bfloat16))
    assert values["r1"].dtype == torch.float32
    assert torch.isfinite(values["r1"])
    assert values["r1"] > 0


def test_a_long_gradient_is_shortened_and_a_short_one_left(train_settings):
    def norms(limit):
        state = new_state(train_settings, 32, CPU)
        take(networks_of(state, limit), train_settings)
        # An optimizer leaves the gradients it has used.
        return torch.stack(
            [p.grad.norm() for p in state.discriminator.parameters() if p.grad is not None]
        ).norm()

    free = norms(None)
    torch.testing.assert_close(norms(0.5 * float(free)), 0.5 * free, rtol=1e-3, atol=0)
    torch.testing.assert_close(norms(2 * float(free)), free)
