import numpy as np
import torch
from skimage.metrics import structural_similarity

from lia_model import metrics


def test_equal_images_are_at_no_distance():
    image = torch.rand(2, 3, 32, 32)
    assert metrics.l1(image, image).tolist() == [0, 0]
    torch.testing.assert_close(metrics.ssim(image, image), torch.ones(2))
    assert metrics.psnr(image, image).tolist() == [100, 100]


def test_psnr_of_a_tenth_everywhere_is_twenty_decibels():
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(metrics.psnr(image + 0.1, image), torch.tensor([20.0]))


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
    got = metrics.ssim(to_tensor(a), to_tensor(b))
    # skimage's mean leaves out five pixels at each edge, exactly where our window would reach outside.
    assert abs(float(got) - full[5:-5, 5:-5].mean()) < 1e-6
