import pytest
import torch

from lia_model.losses.perceptual import (
    Lpips,
    PerceptualLoss,
    build_features,
    downscale,
    gaussian_kernel,
    pyramid_scales,
)


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


def test_vgg_taps_are_the_first_relu_of_each_block(models):
    features = build_features("vgg16", models / "vgg16.safetensors")
    shapes = [tap.shape[1:] for tap in features(torch.rand(1, 3, 32, 32))]
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]


def test_a_file_with_another_network_is_refused(models):
    with pytest.raises(ValueError, match="does not hold vgg16"):
        build_features("vgg16", models / "lpips_alex.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors does not exist"):
        build_features("vgg16", tmp_path / "none.safetensors")


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


def test_lpips_grows_with_noise(models):
    lpips = Lpips(models / "lpips_alex.safetensors")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    noise = torch.randn_like(image)
    distances = [float(lpips(image, image + level * noise)) for level in (0.0, 0.05, 0.3)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]
