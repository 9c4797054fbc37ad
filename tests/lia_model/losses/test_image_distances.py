import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage.metrics import structural_similarity

from lia_model.losses import image_distances


def test_equal_images_are_at_no_distance():
    image = torch.rand(2, 3, 32, 32)
    assert image_distances.l1(image, image).tolist() == [0, 0]
    torch.testing.assert_close(image_distances.ssim(image, image), torch.ones(2))
    assert image_distances.psnr(image, image).tolist() == [100, 100]


def test_psnr_of_a_tenth_everywhere_is_twenty_decibels():
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(image_distances.psnr(image + 0.1, image), torch.tensor([20.0]))


def test_ssim_is_that_of_the_papers_window():
    a, b = np.random.default_rng(0).random((2, 48, 40, 3))
    wanted, full = structural_similarity(
        a,
        b,
        data_range=1,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    del wanted
    to_tensor = lambda image: torch.from_numpy(image).permute(2, 0, 1)[None]  # noqa: E731
    got = image_distances.ssim(to_tensor(a), to_tensor(b))
    # skimage's mean leaves out five pixels at each edge, exactly where our window would reach outside.
    assert abs(float(got) - full[5:-5, 5:-5].mean()) < 1e-6


def test_lpips_grows_with_noise(models):
    lpips = image_distances.Lpips(models / "lpips_alex.safetensors")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    noise = torch.randn_like(image)
    distances = [float(lpips(image, image + level * noise)) for level in (0.0, 0.05, 0.3)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]


def test_a_file_without_the_heads_is_refused(models, tmp_path):
    weights = load_file(models / "lpips_alex.safetensors")
    del weights["lin3.weight"]
    save_file(weights, tmp_path / "alexnet.safetensors")
    with pytest.raises(ValueError, match=r"holds no LPIPS head lin3\.weight: run `lia fetch models`"):
        image_distances.Lpips(tmp_path / "alexnet.safetensors")
