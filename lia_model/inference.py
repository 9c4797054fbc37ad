"""A generator prepared for inference: everything that is equal for all frames is computed once.

Equalised learning rates are multiplied into the weights, the motion head's five linear layers become one, the
motion dictionary is factorised, and tensors use channels_last.
Axes: B batch, N sources (1 or B), D latent width, K directions, S side of the image in pixels.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from lia_model.data.pixels import to_byte_range
from lia_model.networks.encoder import MotionHead
from lia_model.networks.generator import Generator
from lia_model.networks.layers import EqualizedLinear, fold_scales
from lia_model.networks.modulation import ModulatedProjection
from lia_model.networks.synthesis import SynthesisBlock


class InferenceModel(nn.Module):
    """A frozen, optimised copy of a generator that computes the same results.

    Args:
        generator: source of the weights; not changed.
        dtype: of the convolutions. Codes, styles, motion weights, flow and colours are float32 at least: a
            sampling grid in half precision would be a quarter of a pixel off at 256.
    """

    directions: Tensor
    head_weight: Tensor
    head_bias: Tensor

    @torch.no_grad()
    def __init__(self, generator: Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.register_buffer("directions", generator.motion.directions().detach().clone())
        weight, bias = fold_head(generator.motion_head)
        self.register_buffer("head_weight", weight)
        self.register_buffer("head_bias", bias)
        self.encoder = copy.deepcopy(generator.encoder)
        self.synthesis = copy.deepcopy(generator.synthesis)
        self.dtype = dtype
        for network in (self.encoder, self.synthesis):
            fold_scales(network)
            _convert_convolutions(network, dtype)
        self.requires_grad_(False).eval()

    def encode(self, images: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B D"], list[Tensor]]:
        """Return latent codes and the feature maps that `paint` warps."""
        images = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        code, features = self.encoder(images)
        return code.to(self.head_weight.dtype), features

    def weigh(self, code: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """Return the motion weights of a code."""
        return functional.linear(code, self.head_weight, self.head_bias)

    def paint(
        self, code: Float[Tensor, "N D"], features: list[Tensor], weights: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B 3 S S"]:
        """Return the source moved along the directions by `weights`, unclamped; N is 1 or B."""
        moved = code + weights @ self.directions.T
        return self.synthesis(moved, [feature.expand(len(moved), -1, -1, -1) for feature in features])

    def weigh_images(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B K"]:
        """Return the motion weights of images."""
        code, _ = self.encode(images)
        return self.weigh(code)

    def paint_bytes(
        self, weights: Float[Tensor, "B K"], code: Float[Tensor, "N D"], *features: Tensor
    ) -> UInt8[Tensor, "B S S 3"]:
        """Return what `paint` does, as RGB bytes."""
        return to_byte_range(self.paint(code, list(features), weights))

    def repaint_bytes(
        self, images: Float[Tensor, "B 3 S S"], weights: Float[Tensor, "B K"], own_share: Float[Tensor, "1 1"]
    ) -> UInt8[Tensor, "B S S 3"]:
        """Return each image moved along the directions, as RGB bytes.

        Args:
            images: sources, one for each of the weights.
            weights: how far to walk.
            own_share: factor on the image's own motion weights, which are added; 1 for relative motion, or 0.
        """
        code, features = self.encode(images)
        return self.paint_bytes(weights + own_share * self.weigh(code), code, *features)

    def forward(
        self,
        driving: Float[Tensor, "B 3 S S"],
        code: Float[Tensor, "N D"],
        features: list[Tensor],
        offset: Float[Tensor, "N K"],
    ) -> Float[Tensor, "B 3 S S"]:
        """Return the source moved by the driving frames' weights plus `offset` (0 for absolute motion)."""
        driving_code, _ = self.encode(driving)
        return self.paint(code, features, self.weigh(driving_code) + offset)


def fold_head(head: MotionHead) -> tuple[Float[Tensor, "K D"], Float[Tensor, " K"]]:
    """Return the product of the head's linear layers, multiplied in float64."""
    exact = copy.deepcopy(head).double()
    first = next(head.parameters())
    eye = torch.eye(first.shape[1], dtype=torch.float64, device=first.device)
    bias = exact(torch.zeros_like(eye[:1]))
    weight = (exact(eye) - bias).T
    dtype = torch.promote_types(first.dtype, torch.float32)
    return weight.to(dtype).contiguous(), bias[0].to(dtype)


def _convert_convolutions(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert convolutions and activations; linear layers, flow and RGB sums stay in float32."""
    for layer in network.modules():
        if isinstance(layer, EqualizedLinear | ModulatedProjection | SynthesisBlock):
            continue
        for parameter in layer.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
