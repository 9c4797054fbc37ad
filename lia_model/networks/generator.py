"""The generator: encode, walk along the motion directions, decode (Wang et al. 2022, section 3).

Axes: B batch, D latent width, K directions, S side of the image in pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lia_model.networks.encoder import Encoder, MotionHead
from lia_model.networks.motion import MotionDictionary
from lia_model.networks.synthesis import Synthesis
from lia_model.settings import NetworkSettings


class Generator(nn.Module):
    """A source image moved as a driving image says; images are RGB in [-1, 1]."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = Encoder(settings)
        self.motion_head = MotionHead(settings)
        self.motion = MotionDictionary(settings.latent_dim, settings.num_directions)
        self.synthesis = Synthesis(settings)

    def forward(
        self,
        source: Float[Tensor, "B 3 S S"],
        driving: Float[Tensor, "B 3 S S"] | None = None,
        start_weights: Float[Tensor, "B K"] | None = None,
    ) -> Float[Tensor, "B 3 S S"]:
        """Return the moved source, not clamped.

        Args:
            source: the portrait.
            driving: gives the motion; None reconstructs the source without motion.
            start_weights: motion weights of the first driving frame, for relative motion; None for absolute.
        """
        if driving is None:
            return self.synthesis(*self.encoder(source))
        # One pass for both: half the launches, and one gradient of the weights.
        codes, features = self.encoder(torch.cat((source, driving)))
        code, driving_code = codes.chunk(2)
        features = [_first_half(feature) for feature in features]
        weights = self.motion_head(driving_code)
        if start_weights is not None:
            weights = weights - start_weights + self.motion_head(code)
        return self.synthesis(self.move(code, weights), features)

    def motion_weights(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B K"]:
        """Return how far `image` stands along each direction."""
        code, _ = self.encoder(image)
        return self.motion_head(code)

    def move(self, code: Float[Tensor, "B D"], weights: Float[Tensor, "B K"]) -> Float[Tensor, "B D"]:
        """Return `code` after a walk of `weights` along the directions (equation 2)."""
        return code + self.motion(weights)


class _FirstHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - torch's own
        return x.chunk(2)[0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,) = grad_outputs
        return torch.cat((grad, torch.zeros_like(grad)))


def _first_half(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B//2 C H W"]:
    """Return the first half of a batch; a slice's gradient would not keep the layout."""
    return _FirstHalf.apply(x)
