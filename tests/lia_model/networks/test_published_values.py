"""Our networks compute what the published ones compute, on weights and images rebuilt from a recipe."""

import numpy as np
import pytest
import torch

from lia_model.losses.perceptual import downscale
from lia_model.losses.terms import build_objective
from lia_model.settings import OptimizerSettings
from lia_model.training.state import build_optimizers
from lia_model.training.step import Networks, training_step
from tests.lia_model.networks import published_recipe as recipe
from tests.published_losses import published_losses

VALUE_TOLERANCE = {torch.float32: 1e-5, torch.float64: 5e-7}
IMAGE_TOLERANCE = {torch.float32: 2e-2, torch.float64: 1e-6}
IMAGE_MEAN_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-6}
NO_AUTOCAST = torch.autocast("cpu", torch.bfloat16, enabled=False)
small_and_published = pytest.mark.parametrize("size_px", [64, pytest.param(256, marks=pytest.mark.slow)])
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "float64"])


def assert_value(got, key, dtype):
    wanted = torch.from_numpy(recipe.REFERENCE[key]).double()
    assert (got.double() - wanted).abs().max() <= VALUE_TOLERANCE[dtype], key


def assert_image(got, key, dtype):
    error = (recipe.sampled(got).double() - torch.from_numpy(recipe.REFERENCE[key]).double()).abs()
    assert error.max() <= IMAGE_TOLERANCE[dtype], key
    assert error.mean() <= IMAGE_MEAN_TOLERANCE[dtype], key


@small_and_published
@both_precisions
@torch.no_grad()
def test_the_generator_is_the_published_one(size_px, dtype):
    generator = recipe.generator(size_px, dtype).eval()
    source, driving, start = (recipe.image(tag, 2, size_px, dtype) for tag in ("source", "driving", "start"))
    code, features = generator.encoder(source)
    driving_weights, start_weights = generator.motion_weights(driving), generator.motion_weights(start)
    assert_value(code[:, :32], f"{size_px}/source_code", dtype)
    assert_value(driving_weights, f"{size_px}/driving_weights", dtype)
    assert_value(start_weights, f"{size_px}/start_weights", dtype)
    assert_value(generator.motion.directions()[:16], f"{size_px}/directions", dtype)
    for feature in features:
        side = feature.shape[-1]
        assert_value(feature[:, :4, :2, :2], f"{size_px}/feature_{side}_corner", dtype)
        statistics = torch.stack((feature.mean(), feature.std()))
        assert_value(statistics, f"{size_px}/feature_{side}_mean_std", dtype)
    assert_image(generator(source, driving), f"{size_px}/reconstruct_absolute", dtype)
    assert_image(generator(source, driving, start_weights), f"{size_px}/animate_relative", dtype)
    assert_image(generator(source), f"{size_px}/self", dtype)
    weights = generator.motion_head(code)
    weights[:, 3] += 2
    manipulated = generator.synthesis(generator.move(code, weights), features)
    assert_image(manipulated, f"{size_px}/manipulate_direction3_plus2", dtype)


@small_and_published
@both_precisions
@torch.no_grad()
def test_the_discriminator_is_the_published_one(size_px, dtype):
    discriminator = recipe.discriminator(size_px, dtype).eval()
    for tag in ("source", "driving"):
        assert_value(discriminator(recipe.image(tag, 2, size_px, dtype)), f"{size_px}/logits_{tag}", dtype)


@both_precisions
@torch.no_grad()
def test_eight_images_make_two_groups_of_the_minibatch_deviation(dtype):
    logits = recipe.discriminator(64, dtype).eval()(recipe.image("source", 8, 64, dtype))
    assert_value(logits, "64/logits_source_batch8", dtype)


@both_precisions
@pytest.mark.parametrize("scale", [0.5, 0.25, 0.125])
def test_the_pyramid_is_the_published_one(scale, dtype):
    small = downscale(recipe.image("source", 2, 64, dtype), scale)
    assert_value(small[:, :, :8, :8], f"64/pyramid_{scale}", dtype)


def gradient_norm(module):
    return torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm()


@pytest.mark.parametrize(
    ("dtype", "num_steps", "loss_tolerance", "norm_tolerance"),
    [
        # Sampling at the edges of the block images turns rounding into jumps of the gradient: its norm
        # differs by 1.0e-4 between one and two threads.
        pytest.param(torch.float32, 1, 1e-4, 5e-4, id="fp32"),
        pytest.param(torch.float64, 3, 1e-9, 1e-9, id="float64", marks=pytest.mark.slow),
    ],
)
def test_training_takes_the_published_steps(dtype, num_steps, loss_tolerance, norm_tolerance):
    generator, discriminator = recipe.generator(64, dtype), recipe.discriminator(64, dtype)
    rates = OptimizerSettings.model_validate("paper")
    networks = Networks(generator, discriminator, *build_optimizers(generator, discriminator, rates))
    # The table was made without the perceptual term.
    objective = build_objective(published_losses(None), torch.device("cpu"))
    images = [recipe.image(tag, 4, 64, dtype) for tag in ("source", "driving")]
    steps = []
    for step in range(num_steps):
        values = training_step(networks, *images, step=step, objective=objective, autocast=NO_AUTOCAST)
        # An update leaves its gradients where they were.
        norms = gradient_norm(generator), gradient_norm(discriminator)
        steps.append([float(value) for value in (*values.values(), *norms)])
    losses, norms = np.split(np.array(steps), [3], axis=1)
    wanted_losses, wanted_norms = np.split(recipe.REFERENCE["steps"][:num_steps], [3], axis=1)
    np.testing.assert_allclose(losses, wanted_losses, rtol=loss_tolerance)
    np.testing.assert_allclose(norms, wanted_norms, rtol=norm_tolerance)
