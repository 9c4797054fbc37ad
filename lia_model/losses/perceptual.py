"""The perceptual term: an anti-aliased image pyramid compared in VGG features.

Johnson et al. 2016, with the pyramid of Siarohin et al. 2019.
Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lia_model.device.precision import DTYPES, resolve_precision
from lia_model.losses.imagenet_features import (
    FEATURES,
    AlexFeatures,
    ImageNetNormalize,
    VggFeatures,
    build_features,
)
from lia_model.losses.terms import GeneratorOutputs, LossTerm, Objective, loss_term
from lia_model.ops.l1 import sum_of_l1
from lia_model.settings import PerceptualSettings

PYRAMID_SCALES = (1.0, 0.5, 0.25, 0.125)


def gaussian_kernel(scale: float) -> Float[Tensor, "k k"]:
    """Return the normalised Gaussian for downscaling by `scale`: σ = (1/scale - 1)/2, truncated at ±4σ."""
    sigma = (1 / scale - 1) / 2
    radius = round(4 * sigma)
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    taps = torch.exp(-(axis**2) / (2 * sigma**2))
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def downscale(
    image: Float[Tensor, "B 3 S S"], scale: float, kernel: Float[Tensor, "k k"] | None = None
) -> Float[Tensor, "B 3 S2 S2"]:
    """Return every (1/scale)-th pixel of the blurred image; `scale` 1 returns the image.

    Args:
        image: of any range.
        scale: 1 or less.
        kernel: `gaussian_kernel(scale)` on the image's device; it saves waiting for a copy to a GPU.
    """
    if scale == 1.0:
        return image
    kernel = (gaussian_kernel(scale) if kernel is None else kernel).to(image)
    stride = round(1 / scale)
    return functional.conv2d(
        image, kernel.expand(3, 1, *kernel.shape), stride=stride, padding=kernel.shape[-1] // 2, groups=3
    )


def pyramid_scales(size_px: int, min_side_px: int) -> list[float]:
    """Return the pyramid levels used for images of `size_px`: those of at least `min_side_px`."""
    return [scale for scale in PYRAMID_SCALES if size_px * scale >= min_side_px]


class PerceptualLoss(nn.Module):
    """Sum over pyramid levels of the mean absolute difference of features; the target gets no gradient.

    Args:
        features: the frozen network.
        dtype: what it computes in; pyramids are blurred, and differences summed, in float32 at least.
    """

    def __init__(self, features: VggFeatures | AlexFeatures, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.features = features
        self.dtype = dtype
        self.normalize = ImageNetNormalize()
        for scale in PYRAMID_SCALES[1:]:
            self.register_buffer(f"gaussian_{round(1 / scale)}", gaussian_kernel(scale))

    def forward(self, fake: Float[Tensor, "B 3 S S"], target: Float[Tensor, "B 3 S S"]) -> Float[Tensor, ""]:
        """Return the loss; images are RGB in [-1, 1]."""
        got, wanted = [], []
        for scale in pyramid_scales(fake.shape[-1], self.features.min_side_px):
            with torch.no_grad():
                wanted += self._features_at(scale, target)
            got += self._features_at(scale, fake)
        return sum_of_l1(got, wanted)

    def _features_at(self, scale: float, image: Tensor) -> list[Tensor]:
        kernel = None if scale == 1.0 else self.get_buffer(f"gaussian_{round(1 / scale)}")
        image = self.normalize(downscale(image, scale, kernel))
        return self.features(image.to(self.dtype, memory_format=torch.channels_last))


@loss_term("perceptual")
def build_perceptual(settings: PerceptualSettings, device: torch.device) -> Objective:
    """Return the term, or nothing at weight 0.

    Raises:
        ValueError: the file with the network's weights is missing or holds another network.
    """
    if not settings.weight:
        return Objective()
    dtype = DTYPES[resolve_precision(settings.precision, device)]
    loss = PerceptualLoss(build_features(settings.backbone, settings.weights), dtype).to(device)

    def compute(outputs: GeneratorOutputs) -> Tensor:
        return loss(outputs.fake, outputs.driving)

    # The backbone is part of the name: distances in different networks are not comparable.
    name = f"perceptual_{settings.backbone}"
    return Objective(generator=(LossTerm.weighted(name, compute, settings),))


def describe_perceptual(settings: PerceptualSettings, size_px: int) -> dict[str, Any] | None:
    """Return the backbone and the pyramid levels used at `size_px`, for a checkpoint; None at weight 0."""
    if not settings.weight:
        return None
    scales = pyramid_scales(size_px, FEATURES[settings.backbone].min_side_px)
    return {"backbone": settings.backbone, "pyramid_scales": scales}
