import pytest
import torch

from lia_model.settings import OptimizerSettings
from lia_model.training.state import new_state
from lia_model.training.step import Players, is_adversarial, learning_rate_factor, training_step

NO_AUTOCAST = torch.autocast("cpu", torch.bfloat16, enabled=False)


@pytest.fixture
def state(train_settings):
    return new_state(train_settings, 32, torch.device("cpu"))


@pytest.fixture
def players(state):
    return Players(
        state.generator, state.discriminator, state.generator_optimizer, state.discriminator_optimizer
    )


def take(players, settings, step=0, autocast=NO_AUTOCAST, perceptual=None):
    images = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(step)) * 2 - 1
    return training_step(
        players, *images, step=step, losses=settings.losses, perceptual=perceptual, autocast=autocast
    )


def test_one_step_changes_both_networks(players, train_settings):
    before = [p.clone() for p in (*players.generator.parameters(), *players.discriminator.parameters())]
    values = take(players, train_settings)
    after = [*players.generator.parameters(), *players.discriminator.parameters()]
    assert set(values) == {"l1", "generator_adversarial", "discriminator"}
    assert sum(torch.equal(a, b) for a, b in zip(before, after, strict=True)) == 0


def test_the_discriminator_rests_between_its_turns(players, train_settings):
    game = train_settings.losses.adversarial.model_copy(update={"start_step": 2, "every_steps": 3})
    settings = train_settings.losses.model_copy(update={"adversarial": game})
    assert [step for step in range(10) if is_adversarial(step, settings)] == [3, 6, 9]
    before = [p.clone() for p in players.discriminator.parameters()]
    resting = train_settings.model_copy(update={"losses": settings})
    assert set(take(players, resting, step=1)) == {"l1"}
    assert all(torch.equal(a, b) for a, b in zip(before, players.discriminator.parameters(), strict=True))


def test_a_lazy_term_counts_as_often_as_it_is_left_out(players, train_settings):
    weighted = []

    def perceptual(fake, driving):
        weighted.append((fake - driving).square().mean())
        return weighted[-1]

    chosen = train_settings.losses.perceptual.model_copy(update={"weight": 2.0, "every_steps": 2})
    settings = train_settings.model_copy(
        update={"losses": train_settings.losses.model_copy(update={"perceptual": chosen})}
    )
    names = ["perceptual_vgg16" in take(players, settings, step, perceptual=perceptual) for step in range(4)]
    assert names == [True, False, True, False]


def test_bf16_computes_close_to_fp32(train_settings):
    def values(autocast):
        state = new_state(train_settings, 32, torch.device("cpu"))
        players = Players(
            state.generator, state.discriminator, state.generator_optimizer, state.discriminator_optimizer
        )
        return take(players, train_settings, autocast=autocast)

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
    with pytest.raises(ValueError, match="got optimizer 'adamw'; it is 'paper' or a mapping"):
        OptimizerSettings.model_validate("adamw")


def with_r1(settings, **given):
    game = settings.losses.adversarial
    game = game.model_copy(update={"r1": game.r1.model_copy(update=given)})
    return settings.model_copy(update={"losses": settings.losses.model_copy(update={"adversarial": game})})


def test_r1_enters_every_nth_turn_and_changes_the_discriminator_alone(train_settings):
    def after(settings, num_steps):
        state = new_state(settings, 32, torch.device("cpu"))
        players = Players(
            state.generator, state.discriminator, state.generator_optimizer, state.discriminator_optimizer
        )
        names = [set(take(players, settings, step)) for step in range(num_steps)]
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


def test_the_penalty_is_computed_in_full_precision_under_autocast(players, train_settings):
    settings = with_r1(train_settings, weight=1.0, every_turns=1)
    values = take(players, settings, autocast=torch.autocast("cpu", torch.bfloat16))
    assert values["r1"].dtype == torch.float32
    assert torch.isfinite(values["r1"])
    assert values["r1"] > 0


def test_a_long_gradient_is_shortened_and_a_short_one_left(train_settings):
    def norms(limit):
        state = new_state(train_settings, 32, torch.device("cpu"))
        take(
            Players(
                state.generator,
                state.discriminator,
                state.generator_optimizer,
                state.discriminator_optimizer,
                limit,
            ),
            train_settings,
        )
        # The discriminator's gradients stay after its update.
        return torch.stack(
            [p.grad.norm() for p in state.discriminator.parameters() if p.grad is not None]
        ).norm()

    free = norms(None)
    torch.testing.assert_close(norms(0.5 * float(free)), 0.5 * free, rtol=1e-3, atol=0)
    torch.testing.assert_close(norms(2 * float(free)), free)
