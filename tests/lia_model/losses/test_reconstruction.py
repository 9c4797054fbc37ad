import pytest
import torch

from lia_model.losses.reconstruction import reconstruction_loss


def test_black_against_white_differs_by_two():
    image = torch.ones(1, 3, 4, 4)
    assert reconstruction_loss(image, -image) == 2


def test_the_loss_is_the_mean_over_all_pixels_and_scales_with_the_difference():
    fake, driving = torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    loss = reconstruction_loss(fake, driving)
    each = torch.stack([reconstruction_loss(a[None], b[None]) for a, b in zip(fake, driving, strict=True)])
    assert float(loss) == pytest.approx(float(each.mean()))
    assert float(reconstruction_loss(driving + (fake - driving) / 2, driving)) == pytest.approx(
        float(loss) / 2
    )
