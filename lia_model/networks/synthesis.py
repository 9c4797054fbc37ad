"""The decoder: a latent code becomes a coarse-to-fine flow that warps the source's features.

Wang et al. 2022, section 3.3 and appendix A.

Axes: B batch, C channels, D latent width, R side of a feature map, S side of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lia_model.networks.layers import ConvAct, laid_out, num_channels, octaves
from lia_model.networks.modulation import (
    ModulatedProjection,
    Modulation,
    Modulations,
    StyledConv,
    StyledLayer,
    in_a_row,
)
from lia_model.ops.projection import color_projection
from lia_model.ops.warp import flow_warp, identity_grid
from lia_model.settings import NetworkSettings


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
        modulations: Sequence[Modulation],
        feature: Float[Tensor, "B O 2*R 2*R"],
        flow: Float[Tensor, "B 3 R R"] | None,
        rgb: Float[Tensor, "B 3 R R"] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return features, raw flow and RGB of the doubled side; `flow` and `rgb` are the octave below's."""
        *of_convs, of_flow = modulations
        x = in_a_row(self.up, self.conv, x, of_convs)
        raw = self.to_flow(x, of_flow, self.flow_bias, flow)
        warped, x = flow_warp(raw, feature, x, self.grid)
        weight, bias = self.to_rgb.conv.scaled_weight(), self.to_rgb.scaled_bias()
        return x, raw, color_projection(warped, weight, bias, self.rgb_bias, rgb)


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
        layers: list[StyledLayer] = [self.conv.conv]
        for block in self.blocks:
            assert isinstance(block, SynthesisBlock)
            layers += [block.up.conv, block.conv.conv, block.to_flow]
        self.modulate = Modulations(layers)

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
        first, *others = self.modulate(code)
        x = self.conv(laid_out(self.constant.expand(code.shape[0], -1, -1, -1)), first)
        flow = rgb = None
        for number, (block, feature) in enumerate(zip(self.blocks, features, strict=True)):
            x, flow, rgb = block(x, others[3 * number : 3 * number + 3], feature, flow, rgb)
        assert rgb is not None
        return rgb
