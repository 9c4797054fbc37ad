"""Frozen networks trained on ImageNet, whose features images are compared in.

The perceptual loss and LPIPS use them; weights come from safetensors files of `lia fetch models`.
Axes: B batch, H W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lia_model.checkpoints.directory import read_tensors
from lia_model.ops.frozen_conv2d import FrozenConvRelu

Backbone = Literal["vgg16", "vgg19", "alexnet"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Convolutions per block; every block but the first begins with a pooling. The features are the first ReLU of
# each block.
VGG_BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


class VggFeatures(nn.Module):
    """relu1_1, relu2_1, … relu5_1 of VGG16 or VGG19, of images normalised by `ImageNetNormalize`."""

    min_side_px = 16
    """Four poolings reduce a smaller image to nothing."""

    def __init__(self, backbone: Literal["vgg16", "vgg19"], weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.depths = VGG_BLOCKS[backbone]
        # The last feature map is the first of block 5; the convolutions after it are left out.
        self.names = [
            f"conv{block}_{layer}"
            for block, depth in enumerate(self.depths, start=1)
            for layer in range(1, (depth if block < len(self.depths) else 1) + 1)
        ]
        for name in self.names:
            self.add_module(name, FrozenConvRelu(*_weights_of(name, weights), padding_px=1))

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Return the five feature maps, in the type of `x`."""
        features = []
        for name in self.names:
            first_of_block = name.endswith("_1")
            if first_of_block and name != "conv1_1":
                x = functional.max_pool2d(x, 2)
            x = self.get_submodule(name)(x)
            if first_of_block:
                features.append(x)
        return features


class AlexFeatures(nn.Module):
    """relu1 … relu5 of AlexNet, of images normalised by `ImageNetNormalize`."""

    min_side_px = 32
    """The stride of 4 and two poolings reduce a smaller image to nothing."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.conv1 = FrozenConvRelu(*_weights_of("conv1", weights), stride=4, padding_px=2)
        self.conv2 = FrozenConvRelu(*_weights_of("conv2", weights), padding_px=2)
        self.conv3 = FrozenConvRelu(*_weights_of("conv3", weights), padding_px=1)
        self.conv4 = FrozenConvRelu(*_weights_of("conv4", weights), padding_px=1)
        self.conv5 = FrozenConvRelu(*_weights_of("conv5", weights), padding_px=1)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Return the five feature maps."""
        x1 = self.conv1(x)
        x2 = self.conv2(functional.max_pool2d(x1, 3, 2))
        x3 = self.conv3(functional.max_pool2d(x2, 3, 2))
        x4 = self.conv4(x3)
        return [x1, x2, x3, x4, self.conv5(x4)]


def _weights_of(name: str, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float()


FEATURES: dict[Backbone, type[VggFeatures] | type[AlexFeatures]] = {
    "vgg16": VggFeatures,
    "vgg19": VggFeatures,
    "alexnet": AlexFeatures,
}


def build_features(backbone: Backbone, path: Path) -> VggFeatures | AlexFeatures:
    """Return a feature network with frozen weights.

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
    """Clamp RGB to [-1, 1] and standardise it by ImageNet's mean and deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Return the images with mean 0 and deviation 1 per channel over ImageNet."""
        return ((image.clamp(-1, 1) + 1) / 2 - self.mean) / self.std
