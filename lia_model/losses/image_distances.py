"""Distances between two images, as papers on face animation report them.

Images are RGB floats in [0, 1], for LPIPS in [-1, 1]. Validation and evaluation measure with the same
functions; `evaluation.metric_table` has their names and directions.
Axes: B images, H W pixels, S side of the image in pixels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lia_model.checkpoints.directory import read_tensors
from lia_model.losses.imagenet_features import ImageNetNormalize, build_features

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2


def l1(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the mean absolute difference of each pair."""
    return (a - b).abs().mean(dim=(1, 2, 3))


def psnr(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the peak signal-to-noise ratio of each pair in dB; 100 for equal images."""
    error = (a - b).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return -10 * error.log10()


def ssim(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the structural similarity of each pair (Wang et al. 2004, section III).

    As in the paper, the window is a Gaussian of 11 px with σ 1.5. The mean is over the positions where it
    lies inside the image, and over the three colour channels.
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


class Lpips(nn.Module):
    """Learned perceptual distance with AlexNet (Zhang et al. 2018, equation 1, version 0.1).

    Raises:
        ValueError: the weights file is missing or holds another network.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.features = build_features("alexnet", path)
        self.normalize = ImageNetNormalize()
        weights = read_tensors(path)
        self.heads = [f"lin{layer}" for layer in range(5)]
        for name in self.heads:
            if f"{name}.weight" not in weights:
                raise ValueError(f"{path} holds no LPIPS head {name}.weight: run `lia fetch models`")
            self.register_buffer(name, weights[f"{name}.weight"].float().view(1, -1, 1, 1))

    def forward(self, a: Float[Tensor, "B 3 S S"], b: Float[Tensor, "B 3 S S"]) -> Float[Tensor, " B"]:
        """Return the distance of each pair of RGB images in [-1, 1]."""
        total = a.new_zeros(a.shape[0])
        pairs = zip(self.features(self.normalize(a)), self.features(self.normalize(b)), strict=True)
        for name, (x, y) in zip(self.heads, pairs, strict=True):
            difference = (_unit(x) - _unit(y)).square() * getattr(self, name)
            total = total + difference.sum(dim=1).mean(dim=(1, 2))
        return total


def _unit(x: Tensor) -> Tensor:
    """Scale every pixel's feature vector to length 1; 1e-10 as in LPIPS 0.1 keeps zero vectors zero."""
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
