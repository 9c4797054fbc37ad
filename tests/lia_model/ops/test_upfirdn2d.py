import pytest
import torch
from torch.nn import functional

from lia_model.ops.upfirdn2d import blur, fir_kernel, upsample


def test_the_filter_has_the_sum_asked_for():
    torch.testing.assert_close(fir_kernel(4.0).sum(), torch.tensor(4.0))


def test_a_constant_image_stays_constant_inside():
    y = blur(torch.ones(1, 2, 9, 9), (2, 2))
    torch.testing.assert_close(y[..., 2:-2, 2:-2], torch.ones(1, 2, 6, 6))


@pytest.mark.parametrize("pad_px", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_blurring_is_padding_then_filtering_then_skipping(pad_px, stride):
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    padded = functional.pad(x, (*pad_px, *pad_px))
    kernel = fir_kernel().double().expand(3, 1, 4, 4)
    wanted = functional.conv2d(padded, kernel, groups=3)[..., ::stride, ::stride]
    torch.testing.assert_close(blur(x, pad_px, stride=stride), wanted)


def test_upsampling_is_zeros_between_samples_then_filtering():
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    spread = torch.zeros(2, 3, 10, 8, dtype=torch.float64)
    spread[..., ::2, ::2] = x
    kernel = fir_kernel(4.0).double().expand(3, 1, 4, 4)
    wanted = functional.conv2d(functional.pad(spread, (2, 1, 2, 1)), kernel, groups=3)
    torch.testing.assert_close(upsample(x), wanted)
