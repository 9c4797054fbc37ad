"""Settings of the networks: what decides their shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from preprocessing.settings import Settings


class NetworkScale(Settings):
    """The size of a network, apart from the size of its images."""

    width: Annotated[float, Field(gt=0, le=4)]
    """Factor on all channel counts of the three networks; 1 is the published model."""
    latent_dim: Annotated[int, Field(ge=8)]
    """Length of the latent code and of the decoder's styles; published 512."""
    num_directions: Annotated[int, Field(ge=1)]
    """Columns of the motion dictionary; published 20."""

    def at(self, size_px: int) -> NetworkSettings:
        """Return the settings of a network of this scale for square images of side `size_px`."""
        return NetworkSettings.model_validate(self.model_dump() | {"size_px": size_px})


class NetworkSettings(NetworkScale):
    """Everything that determines the shapes of generator and discriminator; stored in checkpoints."""

    size_px: Literal[32, 64, 128, 256, 512, 1024]
    """Side of the square images."""
