"""The published way of computing LIA, written plainly in eager PyTorch: what our speed is compared with.

Every sample has weights of its own in a grouped convolution; the FIR filter is a zero-insertion, a padding
and a convolution of single channels; grids are laid on the CPU for every frame; the source is encoded again
for every frame, and the same matrix is factorised three times (lia.md sections 2 to 4 and 6). The weights are
those of one of our generators, and so are the results.
Axes: B batch, C I O channels, D latent width, K directions, H W R S pixels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lia_model.networks.discriminator import Discriminator, minibatch_deviation
from lia_model.networks.generator import Generator
from lia_model.networks.layers import ConvAct, EqualizedLinear, ResidualBlock
from lia_model.networks.modulation import ModulatedConv2d, ModulatedProjection, StyledConv
from lia_model.networks.synthesis import SynthesisBlock
from lia_model.ops.upfirdn2d import fir_kernel

SLOPE = 0.2
EPSILON = 1e-8


def activate(x: Tensor, bias: Tensor) -> Tensor:
    """Add the bias, then leaky ReLU times √2."""
    return functional.leaky_relu(x + bias.view(1, -1, *[1] * (x.ndim - 2)), SLOPE) * math.sqrt(2)


def filtered(x: Tensor, before: int, after: int, gain: float = 1.0, up: int = 1) -> Tensor:
    """Insert zeros, pad, and filter every channel as an image of its own."""
    batch, channels, height, width = x.shape
    flat = x.reshape(batch * channels, 1, height, 1, width, 1)
    flat = functional.pad(flat, (0, up - 1, 0, 0, 0, up - 1))
    flat = flat.reshape(batch * channels, 1, height * up, width * up)
    flat = functional.pad(flat, (before, after, before, after))
    kernel = fir_kernel(gain).to(x).view(1, 1, 4, 4)
    out = functional.conv2d(flat, kernel)
    return out.view(batch, channels, *out.shape[-2:])


def unscaled(weight: Tensor) -> float:
    """Return the equalised learning rate's factor: 1 / √fan-in."""
    return 1 / math.sqrt(weight[0].numel())


def linear(layer: EqualizedLinear, x: Tensor) -> Tensor:
    return functional.linear(x, layer.weight * unscaled(layer.weight), layer.bias)


def conv_act(layer: ConvAct, x: Tensor) -> Tensor:
    weight = layer.conv.weight
    y = functional.conv2d(x, weight * unscaled(weight), padding=weight.shape[-1] // 2)
    return activate(y, layer.bias)


def residual_block(block: ResidualBlock, x: Tensor) -> Tensor:
    down, skip = block.down.weight, block.skip.weight
    main = filtered(conv_act(block.conv, x), 2, 2)
    main = activate(functional.conv2d(main, down * unscaled(down), stride=2), block.down_bias)
    side = functional.conv2d(filtered(x, 1, 1), skip * unscaled(skip), stride=2)
    return (main + side) / math.sqrt(2)


def modulated_conv(layer: ModulatedConv2d | ModulatedProjection, x: Tensor, code: Tensor) -> Tensor:
    """Give every sample its own weights and convolve all samples as groups of one image."""
    batch, num_in, height, width = x.shape
    num_out, _, size, _ = layer.weight.shape
    style = linear(layer.style, code).view(batch, 1, num_in, 1, 1)
    weight = unscaled(layer.weight) * layer.weight[None] * style
    is_projection = isinstance(layer, ModulatedProjection)
    if not is_projection:
        weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + EPSILON).rsqrt()
    image = x.reshape(1, batch * num_in, height, width)
    if not is_projection and layer.upsample:
        weight = weight.transpose(1, 2).reshape(batch * num_in, num_out, size, size)
        y = functional.conv_transpose2d(image, weight, stride=2, groups=batch)
        return filtered(y.view(batch, num_out, *y.shape[-2:]), 1, 1, gain=4.0)
    weight = weight.view(batch * num_out, num_in, size, size)
    y = functional.conv2d(image, weight, padding=size // 2, groups=batch)
    return y.view(batch, num_out, *y.shape[-2:])


def styled_conv(layer: StyledConv, x: Tensor, code: Tensor) -> Tensor:
    return activate(modulated_conv(layer.conv, x, code), layer.bias)


def warped(raw: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
    """Return the masked warp of the source's feature, and the mask."""
    axis = np.linspace(-1, 1, raw.shape[-1])
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    grid = torch.from_numpy(grid).to(raw)
    flow, mask = torch.tanh(raw[:, :2]), torch.sigmoid(raw[:, 2:3])
    grid = grid[None] + flow.permute(0, 2, 3, 1)
    return functional.grid_sample(feature, grid, align_corners=False) * mask, mask


def synthesis_block(
    block: SynthesisBlock, x: Tensor, code: Tensor, feature: Tensor, flow: Tensor | None, rgb: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    x = styled_conv(block.conv, styled_conv(block.up, x, code), code)
    raw = modulated_conv(block.to_flow, x, code) + block.flow_bias.view(1, 3, 1, 1)
    if flow is not None:
        raw = raw + filtered(flow, 2, 1, gain=4.0, up=2)
    shown, mask = warped(raw, feature)
    color = conv_act(block.to_rgb, shown) + block.rgb_bias.view(1, 3, 1, 1)
    if rgb is not None:
        color = color + filtered(rgb, 2, 1, gain=4.0, up=2)
    return shown + x * (1 - mask), raw, color


class PublishedFormulation(nn.Module):
    """Our generator's weights, computed as published; its parameters are shared, not copied."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def encode(self, image: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B D"], list[Tensor]]:
        encoder = self.generator.encoder
        features = [conv_act(encoder.from_rgb, image)]
        for block in encoder.blocks:
            features.append(residual_block(block, features[-1]))
        last = encoder.to_code.weight
        code = functional.conv2d(features.pop(), last * unscaled(last)).flatten(1)
        return code, features[::-1]

    def weights(self, code: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        for layer in self.generator.motion_head.layers:
            code = linear(layer, code)
        return code

    def step(self, weights: Float[Tensor, "B K"]) -> Float[Tensor, "B D"]:
        """Factorise, then walk: a scaled copy of every direction, summed."""
        directions = torch.linalg.qr(self.generator.motion.free.float() + EPSILON).Q.to(weights.dtype)
        return torch.diag_embed(weights).matmul(directions.T).sum(dim=1)

    def forward(
        self,
        source: Float[Tensor, "B 3 S S"],
        driving: Float[Tensor, "B 3 S S"],
        start_weights: Float[Tensor, "B K"] | None = None,
    ) -> Float[Tensor, "B 3 S S"]:
        """Return the source with the driving pose, or moved relative to the driving clip's start."""
        code, features = self.encode(source)
        driving_code, _ = self.encode(driving)
        moved = self.step(self.weights(driving_code))
        if start_weights is not None:
            # A factorisation each for the driving frame's, the source's and the start's step.
            moved = moved + self.step(self.weights(code)) - self.step(start_weights)
        code = code + moved
        synthesis = self.generator.synthesis
        x = styled_conv(synthesis.conv, synthesis.constant.repeat(len(code), 1, 1, 1), code)
        flow = rgb = None
        for block, feature in zip(synthesis.blocks, features, strict=True):
            x, flow, rgb = synthesis_block(block, x, code, feature, flow, rgb)
        assert rgb is not None
        return rgb


class PublishedDiscriminator(nn.Module):
    """Our discriminator's weights, computed as published."""

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 1"]:
        network = self.discriminator
        x = conv_act(network.from_rgb, image)
        for block in network.blocks:
            x = residual_block(block, x)
        x = conv_act(network.conv, torch.cat((x, minibatch_deviation(x)), dim=1))
        hidden = network.hidden
        x = functional.linear(x.flatten(1), hidden.weight * unscaled(hidden.weight))
        return linear(network.to_logit, activate(x, hidden.bias))
