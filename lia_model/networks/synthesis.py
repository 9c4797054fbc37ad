"""The decoder: a latent code becomes a coarse-to-fine flow that warps the source's features.

Wang et al. 2022, section 3.3 and appendix A.

Axes: B batch, C channels, D latent width, R side of a feature map, S side of the image in pixels.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lia_model.networks.layers import (
    ConvAct,
    EqualizedLinear,
    ScaledLayer,
    laid_out,
    num_channels,
    octaves,
)
from lia_model.ops.modulated_conv2d import energy, modulated_conv2d, modulated_projection
from lia_model.ops.upfirdn2d import upsample
from lia_model.ops.warp import flow_warp, identity_grid
from lia_model.settings import NetworkSettings


class ModulatedConv2d(ScaledLayer):
    """Convolution whose style is a linear function of the latent code."""

    energy: Tensor | None

    def __init__(
        self,
        num_in: int,
        num_out: int,
        kernel_px: int,
        latent_dim: int,
        *,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in, kernel_px, kernel_px))
        self.style = EqualizedLinear(latent_dim, num_in, bias=1.0)
        self.scale = 1 / math.sqrt(num_in * kernel_px**2)
        self.upsample = upsample
        self.register_buffer("energy", None, persistent=False)

    def forward(
        self, x: Float[Tensor, "B I R R"], code: Float[Tensor, "B D"], bias: Float[Tensor, " O"] | None = None
    ) -> Float[Tensor, "B O R2 R2"]:
        """Convolve under the style of `code`; with `bias`, add that and activate."""
        return modulated_conv2d(
            x,
            self.scaled_weight(),
            self.style(code),
            bias,
            demodulate=True if self.energy is None else self.energy,
            upsample=self.upsample,
        )

    def fold(self) -> None:
        """Also compute what demodulation needs of the weights, and lay them out as the convolution reads.

        A transposed convolution copies weights of another layout every time.
        """
        super().fold()
        self.energy = energy(self.weight)
        if self.upsample:
            swapped = self.weight.data.transpose(0, 1).contiguous(memory_format=torch.channels_last)
            self.weight.data = swapped.transpose(0, 1)


class ModulatedProjection(ScaledLayer):
    """Modulated 1×1 convolution without demodulation; its result is float32 at least."""

    def __init__(self, num_in: int, num_out: int, latent_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in, 1, 1))
        self.style = EqualizedLinear(latent_dim, num_in, bias=1.0)
        self.scale = 1 / math.sqrt(num_in)

    def forward(self, x: Float[Tensor, "B I R R"], code: Float[Tensor, "B D"]) -> Float[Tensor, "B O R R"]:
        """Project every pixel under the style of `code`."""
        return modulated_projection(x, self.scaled_weight(), self.style(code))


class StyledConv(nn.Module):
    """Modulated 3×3 convolution, bias and leaky ReLU; the published noise input is never fed and left out."""

    def __init__(self, num_in: int, num_out: int, latent_dim: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(num_in, num_out, 3, latent_dim, upsample=upsample)
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, x: Float[Tensor, "B I R R"], code: Float[Tensor, "B D"]) -> Float[Tensor, "B O R2 R2"]:
        """Convolve and activate."""
        return self.conv(x, code, self.bias)


class SynthesisBlock(nn.Module):
    """One octave: double the side, predict the flow, warp the source's features, read off RGB."""

    grid: Tensor

    def __init__(self, side_px: int, num_in: int, num_out: int, latent_dim: int) -> None:
        super().__init__()
        self.up = StyledConv(num_in, num_out, latent_dim, upsample=True)
        self.conv = StyledConv(num_out, num_out, latent_dim)
        self.to_flow = ModulatedProjection(num_out, 3, latent_dim)
        self.flow_bias = nn.Parameter(torch.zeros(3))
        self.to_rgb = ConvAct(num_out, 3, 1)
        self.rgb_bias = nn.Parameter(torch.zeros(3))
        self.register_buffer("grid", identity_grid(side_px), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "B I R R"],
        code: Float[Tensor, "B D"],
        feature: Float[Tensor, "B O 2*R 2*R"],
        flow: Float[Tensor, "B 3 R R"] | None,
        rgb: Float[Tensor, "B 3 R R"] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return features, raw flow and RGB of the doubled side; `flow` and `rgb` are the octave below's."""
        x = self.conv(self.up(x, code), code)
        raw = self.to_flow(x, code) + self.flow_bias.view(1, 3, 1, 1)
        if flow is not None:
            raw = raw + upsample(flow)
        warped, x = flow_warp(raw, feature, x, self.grid)
        color = self.to_rgb(warped) + self.rgb_bias.view(1, 3, 1, 1)
        if rgb is not None:
            color = color + upsample(rgb)
        return x, raw, color


class Synthesis(nn.Module):
    """Latent code and source features to image."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        latent_dim = settings.latent_dim
        sides = octaves(settings.size_px)
        channels = [num_channels(side, settings.width) for side in [4, *sides]]
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.conv = StyledConv(channels[0], channels[0], latent_dim)
        self.blocks = nn.ModuleList(
            SynthesisBlock(side, num_in, num_out, latent_dim)
            for side, num_in, num_out in zip(sides, channels[:-1], channels[1:], strict=True)
        )

    @torch.no_grad()
    def weaken_flow(self, scale: float, mask_bias: float) -> None:
        """Scale down the flow and bias the masks of fresh weights, so that training starts near a copy.

        Args:
            scale: factor on the weights of the flow branches.
            mask_bias: added to every mask before its sigmoid; large values show the warped source.
        """
        for block in self.blocks:
            assert isinstance(block, SynthesisBlock)
            block.to_flow.weight.mul_(scale)
            block.flow_bias[2].add_(mask_bias)

    def forward(self, code: Float[Tensor, "B D"], features: list[Tensor]) -> Float[Tensor, "B 3 S S"]:
        """Return the image in [-1, 1], not clamped; `features` are the encoder's, sides 8, 16, … S."""
        x = self.conv(laid_out(self.constant.expand(code.shape[0], -1, -1, -1)), code)
        flow = rgb = None
        for block, feature in zip(self.blocks, features, strict=True):
            x, flow, rgb = block(x, code, feature, flow, rgb)
        assert rgb is not None
        return rgb
