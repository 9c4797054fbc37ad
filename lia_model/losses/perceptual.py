"""Distances in the features of ImageNet networks: the perceptual loss of training and LPIPS.

The perceptual loss compares an anti-aliased image pyramid in VGG features (Johnson et al. 2016, as used by
Siarohin et al. 2019); LPIPS is Zhang et al. 2018. Weights are frozen and come from safetensors files of
`lia fetch models`.
Axes: B batch, C channels, H W pixels, S side of the square image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lia_model.checkpoints.directory import read_tensors

Backbone = Literal["vgg16", "vgg19", "alexnet"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PYRAMID_SCALES = (1.0, 0.5, 0.25, 0.125)

# Convolutions block by block; a pooling stands before every block but the first. The tap is the first ReLU
# of a block for VGG (lia.md section 6) and every ReLU for AlexNet, whose fourth and fifth layers have no
# pooling before them.
VGG_BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


class VggFeatures(nn.Module):
    """relu1_1, relu2_1, … relu5_1 of VGG16 or VGG19; input normalised as ImageNet's."""

    min_side_px = 16

    def __init__(self, backbone: Literal["vgg16", "vgg19"], weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.depths = VGG_BLOCKS[backbone]
        # The last tap is the first convolution of block 5: what follows it is never computed.
        self.names = [
            f"conv{block}_{layer}"
            for block, depth in enumerate(self.depths, start=1)
            for layer in range(1, (depth if block < len(self.depths) else 1) + 1)
        ]
        _register_convolutions(self, self.names, weights)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Return the five feature maps."""
        taps = []
        for name in self.names:
            first_of_block = name.endswith("_1")
            if first_of_block and name != "conv1_1":
                x = functional.max_pool2d(x, 2)
            x = functional.relu(_convolve(self, name, x, padding=1))
            if first_of_block:
                taps.append(x)
        return taps


class AlexFeatures(nn.Module):
    """relu1 … relu5 of AlexNet; input normalised as ImageNet's."""

    # Four strides and two poolings leave nothing of a smaller image.
    min_side_px = 32

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        _register_convolutions(self, [f"conv{layer}" for layer in range(1, 6)], weights)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Return the five feature maps."""
        x1 = functional.relu(_convolve(self, "conv1", x, stride=4, padding=2))
        x2 = functional.relu(_convolve(self, "conv2", functional.max_pool2d(x1, 3, 2), padding=2))
        x3 = functional.relu(_convolve(self, "conv3", functional.max_pool2d(x2, 3, 2), padding=1))
        x4 = functional.relu(_convolve(self, "conv4", x3, padding=1))
        return [x1, x2, x3, x4, functional.relu(_convolve(self, "conv5", x4, padding=1))]


def _register_convolutions(module: nn.Module, names: list[str], weights: dict[str, Tensor]) -> None:
    for name in names:
        for kind in ("weight", "bias"):
            module.register_buffer(f"{name}_{kind}", weights[f"{name}.{kind}"].float())


def _convolve(module: nn.Module, name: str, x: Tensor, *, padding: int, stride: int = 1) -> Tensor:
    weight, bias = getattr(module, f"{name}_weight"), getattr(module, f"{name}_bias")
    return functional.conv2d(x, weight, bias, stride=stride, padding=padding)


FEATURES: dict[Backbone, type[VggFeatures] | type[AlexFeatures]] = {
    "vgg16": VggFeatures,
    "vgg19": VggFeatures,
    "alexnet": AlexFeatures,
}


def build_features(backbone: Backbone, path: Path) -> VggFeatures | AlexFeatures:
    """Return a frozen feature network.

    Raises:
        ValueError: the file is missing or holds another network.
    """
    weights = read_tensors(path)
    try:
        if backbone == "alexnet":
            return AlexFeatures(weights)
        return VggFeatures(backbone, weights)
    except KeyError as error:
        raise ValueError(
            f"{path} does not hold {backbone}: tensor {error} is missing; give that network's file, "
            "or run `lia fetch models` and use vgg16 or alexnet"
        ) from None


class ImageNetNormalize(nn.Module):
    """RGB in [-1, 1], clamped, to ImageNet's mean 0 and deviation 1."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Normalise."""
        return ((image.clamp(-1, 1) + 1) / 2 - self.mean) / self.std


def gaussian_kernel(scale: float) -> Float[Tensor, "k k"]:
    """Return the normalised Gaussian for a reduction to `scale`: σ = (1/scale - 1)/2, cut at ±4σ."""
    sigma = (1 / scale - 1) / 2
    radius = round(4 * sigma)
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    taps = torch.exp(-(axis**2) / (2 * sigma**2))
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def downscale(image: Float[Tensor, "B 3 S S"], scale: float) -> Float[Tensor, "B 3 S2 S2"]:
    """Return every (1/scale)-th pixel of the blurred image; `scale` 1 changes nothing."""
    if scale == 1.0:
        return image
    kernel = gaussian_kernel(scale).to(image)
    stride = round(1 / scale)
    return functional.conv2d(
        image, kernel.expand(3, 1, *kernel.shape), stride=stride, padding=kernel.shape[-1] // 2, groups=3
    )


def pyramid_scales(size_px: int, min_side_px: int) -> list[float]:
    """Return the levels used at `size_px`: those that leave at least `min_side_px`."""
    return [scale for scale in PYRAMID_SCALES if size_px * scale >= min_side_px]


class PerceptualLoss(nn.Module):
    """Sum over levels and taps of the mean absolute feature difference; the target gets no gradient."""

    def __init__(self, features: VggFeatures | AlexFeatures) -> None:
        super().__init__()
        self.features = features
        self.normalize = ImageNetNormalize()

    def forward(self, fake: Float[Tensor, "B 3 S S"], target: Float[Tensor, "B 3 S S"]) -> Float[Tensor, ""]:
        """Return the loss; images are RGB in [-1, 1]."""
        total = fake.new_zeros(())
        for scale in pyramid_scales(fake.shape[-1], self.features.min_side_px):
            with torch.no_grad():
                wanted = self.features(self.normalize(downscale(target, scale)))
            got = self.features(self.normalize(downscale(fake, scale)))
            total = total + sum(functional.l1_loss(a, b) for a, b in zip(got, wanted, strict=True))
        return total


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
