"""The discriminator of StyleGAN2 (Karras et al. 2020), as LIA uses it.

Axes: B batch, C channels, H W pixels, S side of the image in pixels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lia_model.networks.layers import (
    ConvAct,
    EqualizedLinear,
    ResidualBlock,
    channels_last,
    num_channels,
    octaves,
)
from lia_model.settings import NetworkSettings

MAX_GROUP = 4
EPSILON = 1e-8


def minibatch_deviation(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H W"]:
    """Return the mean deviation over groups of samples, as a channel (Karras et al. 2018, section 3).

    Groups hold 4 samples, B/4 apart; where 4 does not divide the batch, the largest smaller number that does.
    """
    batch, channels, height, width = x.shape
    group = next(size for size in range(min(batch, MAX_GROUP), 0, -1) if batch % size == 0)
    grouped = x.reshape(group, batch // group, channels, height, width)
    deviation = (grouped.var(dim=0, unbiased=False) + EPSILON).sqrt().mean(dim=(1, 2, 3))
    return deviation.repeat(group).view(batch, 1, 1, 1).expand(batch, 1, height, width)


class Discriminator(nn.Module):
    """Image to a logit: large where it takes the image for a real one."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        sides = octaves(settings.size_px)[::-1]
        channels = [num_channels(side, settings.width) for side in [*sides, 4]]
        last = channels[-1]
        self.from_rgb = ConvAct(3, channels[0], 1)
        self.blocks = nn.Sequential(
            *(ResidualBlock(num_in, num_out) for num_in, num_out in pairwise(channels))
        )
        self.conv = ConvAct(last + 1, last, 3)
        self.hidden = EqualizedLinear(last * 16, last, activate=True)
        self.to_logit = EqualizedLinear(last, 1)

    def forward(self, image: Float[Tensor, "B 3 S S"], num_batches: int = 1) -> Float[Tensor, "B 1"]:
        """Return the logits.

        Args:
            image: RGB in [-1, 1].
            num_batches: how many batches stand one after another in `image` (real and fake, say); the
            minibatch
                deviation never mixes them, so one call equals that many separate ones.
        """
        x = self.blocks(self.from_rgb(channels_last(image)))
        deviation = torch.cat([minibatch_deviation(batch) for batch in x.chunk(num_batches)])
        x = self.conv(channels_last(torch.cat((x, deviation), dim=1)))
        return self.to_logit(self.hidden(x.flatten(1)))
