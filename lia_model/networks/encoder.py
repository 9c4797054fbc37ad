"""The encoder of source and driving images (Wang et al. 2022, section 3.2 and appendix A).

Axes: B batch, D latent width, K directions, S side of the image in pixels.
"""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from lia_model.networks.layers import (
    ConvAct,
    EqualizedConv2d,
    EqualizedLinear,
    ResidualBlock,
    laid_out,
    num_channels,
    octaves,
)
from lia_model.settings import NetworkSettings

NUM_MOTION_LAYERS = 5


class Encoder(nn.Module):
    """Image to latent code and feature maps."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.size_px = settings.size_px
        sides = octaves(settings.size_px)[::-1]
        channels = [num_channels(side, settings.width) for side in [*sides, 4]]
        self.from_rgb = ConvAct(3, channels[0], 1)
        self.blocks = nn.ModuleList(ResidualBlock(num_in, num_out) for num_in, num_out in pairwise(channels))
        self.to_code = EqualizedConv2d(channels[-1], settings.latent_dim, 4)

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B D"], list[Tensor]]:
        """Return the latent code, and the feature maps of sides 8, 16, … S that the decoder warps.

        Raises:
            ValueError: the images have another side than the network was made for.
        """
        if image.shape[-2:] != (self.size_px, self.size_px):
            raise ValueError(
                f"got images of {image.shape[-1]}x{image.shape[-2]} px; this network takes "
                f"{self.size_px}x{self.size_px} px only: resize them, or use Animator, which does"
            )
        features = [self.from_rgb(laid_out(image))]
        for block in self.blocks:
            features.append(block(features[-1]))
        code = self.to_code(features.pop()).flatten(1)
        return code, features[::-1]


class MotionHead(nn.Module):
    """Latent code to motion weights.

    Five linear layers without activation between them are one linear map; five are kept because published
    checkpoints hold five.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        widths = [settings.latent_dim] * NUM_MOTION_LAYERS + [settings.num_directions]
        self.layers = nn.Sequential(
            *(EqualizedLinear(num_in, num_out) for num_in, num_out in pairwise(widths))
        )

    def forward(self, code: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """Return how far to walk along each direction."""
        return self.layers(code)
