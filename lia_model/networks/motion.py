"""The motion dictionary (Wang et al. 2022, section 3.2).

Axes: B batch, D latent width, K directions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-8


class MotionDictionary(nn.Module):
    """K orthonormal directions in a D-wide latent space (Wang et al. 2022, section 3.2).

    The free parameter is any D by K matrix; QR makes its columns orthonormal, so each weight moves the
    portrait along one axis and leaves the others alone.

    Raises:
        ValueError: more directions are asked for than the latent space has dimensions.
    """

    def __init__(self, latent_dim: int, num_directions: int) -> None:
        super().__init__()
        if num_directions > latent_dim:
            raise ValueError(
                f"num_directions is {num_directions}, but at most latent_dim = {latent_dim} directions can "
                "be orthogonal: ask for fewer, or raise latent_dim"
            )
        self.free = nn.Parameter(torch.randn(latent_dim, num_directions))

    def directions(self) -> Float[Tensor, "D K"]:
        """Return the directions, one a column, in float32, or float64 where the parameter is float64."""
        exact = torch.promote_types(self.free.dtype, torch.float32)
        with torch.autocast(self.free.device.type, enabled=False):
            return torch.linalg.qr(self.free.to(exact) + EPSILON).Q

    def forward(self, weights: Float[Tensor, "B K"]) -> Float[Tensor, "B D"]:
        """Return the step in latent space for `weights`, of length `weights.norm(dim=1)`."""
        directions = self.directions()
        with torch.autocast(self.free.device.type, enabled=False):
            return weights.to(directions.dtype) @ directions.T
