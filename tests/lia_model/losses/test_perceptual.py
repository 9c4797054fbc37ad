import numpy as np
import pytest
import torch
from torch.nn import functional

from lia_model.data.pixels import to_float
from lia_model.losses.imagenet_features import build_features
from lia_model.losses.perceptual import (
    PerceptualLoss,
    describe_perceptual,
    downscale,
    gaussian_kernel,
    pyramid_scales,
)
from lia_model.settings import PerceptualSettings
from tests.puppets import draw_identity, draw_motion, render


@pytest.fixture(scope="module", params=["vgg16", "alexnet"])
def loss(request, models):
    file = {"vgg16": "vgg16.safetensors", "alexnet": "lpips_alex.safetensors"}[request.param]
    return PerceptualLoss(build_features(request.param, models / file))


def test_equal_images_lose_nothing_and_different_ones_do(loss):
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    assert loss(image, image) == 0
    assert loss(image, -image) > 0


def test_the_target_gets_no_gradient_and_the_fake_does(loss):
    fake, target = torch.rand(2, 1, 3, 64, 64).requires_grad_(True)
    fake, target = fake.detach().requires_grad_(True), target.detach().requires_grad_(True)
    loss(fake, target).backward()
    assert target.grad is None
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0


def test_small_images_have_fewer_levels():
    assert pyramid_scales(256, 16) == [1, 0.5, 0.25, 0.125]
    assert pyramid_scales(64, 16) == [1, 0.5, 0.25]
    assert pyramid_scales(32, 16) == [1, 0.5]


@pytest.mark.parametrize(("scale", "size"), [(0.5, 5), (0.25, 13), (0.125, 29)])
def test_the_anti_aliasing_gaussian_is_four_sigma_wide_and_normalised(scale, size):
    kernel = gaussian_kernel(scale)
    assert kernel.shape == (size, size)
    torch.testing.assert_close(kernel.sum(), torch.tensor(1.0))


def test_downscaling_a_constant_image_keeps_it_inside():
    small = downscale(torch.ones(1, 3, 64, 64), 0.25)
    assert small.shape == (1, 3, 16, 16)
    torch.testing.assert_close(small[..., 4:-4, 4:-4], torch.ones(1, 3, 8, 8))


def test_a_checkpoint_records_the_backbone_and_the_levels_used():
    settings = PerceptualSettings(backbone="vgg16", weights="none", precision="fp32", weight=1, every_steps=1)
    assert describe_perceptual(settings, 64) == {"backbone": "vgg16", "pyramid_scales": [1, 0.5, 0.25]}
    assert describe_perceptual(settings.model_copy(update={"weight": 0}), 64) is None


@pytest.mark.parametrize("size_px", [32, 64])
def test_features_in_bf16_give_nearly_the_loss_and_gradient_of_float32(models, size_px):
    features = build_features("vgg16", models / "vgg16.safetensors")
    rng = np.random.default_rng(0)
    identity = draw_identity(rng)
    fake, target = (
        to_float(render(identity, motion, size_px)[None]).expand(2, -1, -1, -1)
        for motion in draw_motion(rng, 2)
    )
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        image = fake.clone().requires_grad_(True)
        loss = PerceptualLoss(features, dtype)(image, target)
        assert loss.dtype == torch.float32
        found.append((loss.detach(), *torch.autograd.grad(loss, image)))
    (exact, gradient), (rounded, rounded_gradient) = found
    assert abs(rounded - exact) < 0.003 * exact
    assert functional.cosine_similarity(gradient.flatten(), rounded_gradient.flatten(), dim=0) > 0.97
    torch.testing.assert_close(rounded_gradient.norm(), gradient.norm(), rtol=0.02, atol=0)
