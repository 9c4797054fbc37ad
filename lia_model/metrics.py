"""Distances between a generated and a true frame, as the field reports them (lia.md section 8).

Images are RGB floats in [0, 1]. Axes: B frames, H W pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2


def l1(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the mean absolute difference of each pair."""
    return (a - b).abs().mean(dim=(1, 2, 3))


def psnr(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the peak signal-to-noise ratio of each pair in dB; equal images are given 100."""
    error = (a - b).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return -10 * error.log10()


def ssim(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the structural similarity of each pair (Wang et al. 2004, section III).

    Gaussian window of 11 px and σ 1.5 as in the paper, over positions where it lies wholly inside, mean of
    the three colour channels.
    """
    window = _gaussian_window(a)
    mean_a, mean_b = _filter(a, window), _filter(b, window)
    var_a = _filter(a * a, window) - mean_a.square()
    var_b = _filter(b * b, window) - mean_b.square()
    covariance = _filter(a * b, window) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a.square() + mean_b.square() + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _gaussian_window(like: Tensor) -> Float[Tensor, "3 1 k k"]:
    axis = torch.arange(SSIM_WINDOW_PX, dtype=like.dtype, device=like.device) - SSIM_WINDOW_PX // 2
    taps = torch.exp(-axis.square() / (2 * SSIM_SIGMA_PX**2))
    taps = taps / taps.sum()
    return torch.outer(taps, taps).expand(3, 1, -1, -1)


def _filter(x: Tensor, window: Tensor) -> Tensor:
    return functional.conv2d(x, window, groups=3)
