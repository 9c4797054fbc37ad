"""Convolutions under a style, and the styles of all of them from one latent code.

Karras et al. 2020, StyleGAN2, section 2.2. Axes: B batch, I O channels, D latent width, R side in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lia_model.networks.layers import EqualizedLinear, Foldable, ScaledLayer
from lia_model.ops.modulated_conv2d import (
    EPSILON,
    convolve_modulated,
    energy,
    modulated,
    modulated_conv2d,
    modulates_ahead,
    normalized,
    runs_in_half,
)
from lia_model.ops.projection import modulated_projection


class Modulation(NamedTuple):
    """What a latent code does to one layer."""

    style: Float[Tensor, "B I"]
    demodulate: bool | Float[Tensor, "B O"]
    """The demodulation, where it is known; see `modulated_conv2d`."""


class StyledLayer(ScaledLayer):
    """Weights of a convolution whose style is a linear function of the latent code."""

    def __init__(self, num_in: int, num_out: int, kernel_px: int, latent_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in, kernel_px, kernel_px))
        self.style = EqualizedLinear(latent_dim, num_in, bias=1.0)
        self.scale = 1 / math.sqrt(num_in * kernel_px**2)


class ModulatedConv2d(StyledLayer):
    """Modulated convolution with demodulation."""

    energy: Tensor | None
    epsilon: Tensor | None

    def __init__(
        self, num_in: int, num_out: int, kernel_px: int, latent_dim: int, *, upsample: bool = False
    ) -> None:
        super().__init__(num_in, num_out, kernel_px, latent_dim)
        self.upsample = upsample
        self.register_buffer("energy", None, persistent=False)
        self.register_buffer("epsilon", None, persistent=False)

    def forward(
        self, x: Float[Tensor, "B I R R"], modulation: Modulation, bias: Float[Tensor, " O"] | None = None
    ) -> Float[Tensor, "B O R2 R2"]:
        """Convolve under `modulation`; with `bias`, add that and activate."""
        return modulated_conv2d(
            x,
            self.scaled_weight(),
            modulation.style,
            bias,
            demodulate=modulation.demodulate,
            upsample=self.upsample,
        )

    def square_norm(self, squares: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
        """Return the squares of what demodulation divides by, from those of the style; needs `fold`."""
        assert self.energy is not None
        assert self.epsilon is not None
        return torch.addmm(self.epsilon, squares, self.energy.T)

    def fold(self) -> None:
        """Also normalise the weights, and compute what demodulation needs of them."""
        super().fold()
        before = torch.full_like(self.weight[:, 0, 0, 0], EPSILON) if self.epsilon is None else self.epsilon
        weight, powers = normalized(self.weight.data)
        self.energy, self.epsilon = energy(weight), before / powers.square()
        self.weight.data = weight
        self.lay_out()

    def lay_out(self) -> None:
        """A transposed convolution reads the weights transposed, and copies those of another layout."""
        if self.upsample:
            swapped = self.weight.data.transpose(0, 1).contiguous(memory_format=torch.channels_last)
            self.weight.data = swapped.transpose(0, 1)
        else:
            super().lay_out()


class ModulatedProjection(StyledLayer):
    """Modulated 1×1 convolution without demodulation; its result is float32 at least."""

    def __init__(self, num_in: int, num_out: int, latent_dim: int) -> None:
        super().__init__(num_in, num_out, 1, latent_dim)

    def forward(
        self,
        x: Float[Tensor, "B I R R"],
        modulation: Modulation,
        bias: Float[Tensor, " O"],
        below: Float[Tensor, "B O R//2 R//2"] | None,
    ) -> Float[Tensor, "B O R R"]:
        """Project every pixel under `modulation`, and add `bias` and `below` doubled."""
        return modulated_projection(x, self.scaled_weight(), modulation.style, bias, below)


class StyledConv(nn.Module):
    """Modulated 3×3 convolution, bias and leaky ReLU; the published noise input is never fed and left out."""

    def __init__(self, num_in: int, num_out: int, latent_dim: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(num_in, num_out, 3, latent_dim, upsample=upsample)
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, x: Float[Tensor, "B I R R"], modulation: Modulation) -> Float[Tensor, "B O R2 R2"]:
        """Convolve and activate."""
        return self.conv(x, modulation, self.bias)


def in_a_row(
    first: StyledConv, second: StyledConv, x: Float[Tensor, "B I R R"], of_both: Sequence[Modulation]
) -> Float[Tensor, "B O R2 R2"]:
    """Return what the second layer makes of the first's result.

    Where fused kernels run, the first's activation is multiplied by the second's style in the same launch.
    """
    of_first, of_second = of_both
    scales = [each.demodulate for each in of_both if isinstance(each.demodulate, Tensor)]
    if len(scales) < len(of_both) or not modulates_ahead(x):
        return second(first(x, of_first), of_second)
    x = modulated(x, of_first.style)
    for layer, scale, after in zip((first, second), scales, (of_second.style, None), strict=True):
        weight, upsample = layer.conv.scaled_weight(), layer.conv.upsample
        x = convolve_modulated(x, weight, layer.bias, scale, after, upsample=upsample)
    return x


class Modulations(Foldable):
    """The modulations of several layers by one latent code; folded, it computes their styles as one product.

    Args:
        layers: belong to other modules, whose parameters they stay.
    """

    weight: Tensor | None
    bias: Tensor | None
    members: Tensor | None
    owners: Tensor | None

    def __init__(self, layers: Sequence[StyledLayer]) -> None:
        super().__init__()
        # In a tuple, where torch does not find them: they must not be twice in the state dict.
        self._layers = tuple(layers)
        for name in ("weight", "bias", "members", "owners"):
            self.register_buffer(name, None, persistent=False)

    def forward(self, code: Float[Tensor, "B D"]) -> list[Modulation]:
        """Return a modulation for each layer."""
        if self.weight is None:
            return [Modulation(layer.style(code), True) for layer in self._layers]
        styles = functional.linear(code, self.weight, self.bias)
        sizes = [layer.weight.shape[1] for layer in self._layers]
        demodulations = self._demodulations(styles.square().split(sizes, dim=1))
        bounded = styles
        if runs_in_half(self._layers[0].weight):
            bounded, demodulations = self._within_half(styles, demodulations)
        outputs = [layer.weight.shape[0] for layer in self._layers if isinstance(layer, ModulatedConv2d)]
        each = iter(demodulations.split(outputs, dim=1))
        return [
            Modulation(small, next(each)) if isinstance(layer, ModulatedConv2d) else Modulation(style, False)
            for layer, style, small in zip(
                self._layers, styles.split(sizes, dim=1), bounded.split(sizes, dim=1), strict=True
            )
        ]

    def _demodulations(self, squares: Sequence[Tensor]) -> Float[Tensor, "B O"]:
        """Return those of all convolutions, side by side."""
        norms = [
            layer.square_norm(square)
            for layer, square in zip(self._layers, squares, strict=True)
            if isinstance(layer, ModulatedConv2d)
        ]
        return torch.cat(norms, dim=1).rsqrt()

    def _within_half(
        self, styles: Float[Tensor, "B I"], demodulations: Float[Tensor, "B O"]
    ) -> tuple[Float[Tensor, "B I"], Float[Tensor, "B O"]]:
        """Do for all layers together what `modulated_conv2d.within_half` does, in few launches."""
        assert self.members is not None
        assert self.owners is not None
        loudest = torch.linalg.vector_norm(styles[:, self.members], math.inf, dim=2).clamp(min=EPSILON)
        of_inputs, of_outputs = loudest[:, self.owners].split(
            [styles.shape[1], demodulations.shape[1]], dim=1
        )
        return styles / of_inputs, demodulations * of_outputs

    def fold(self) -> None:
        """Put the linear layers of all styles into one."""
        self.weight = torch.cat([layer.style.scaled_weight() for layer in self._layers]).detach()
        self.bias = torch.cat([layer.style.bias for layer in self._layers]).detach()
        self.members, self.owners = self._places(self.weight.device)

    def _places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return where each layer's styles stand, the first repeated to equal numbers; and whose each is.

        The latter is the number of a layer for each style and then for each demodulation.
        """
        shapes = [layer.weight.shape[:2] for layer in self._layers]
        widest = max(num_in for _, num_in in shapes)
        ends = list(accumulate(num_in for _, num_in in shapes))
        rows = [
            [*range(end - num_in, end), *[end - num_in] * (widest - num_in)]
            for end, (_, num_in) in zip(ends, shapes, strict=True)
        ]
        owners = [number for number, (_, num_in) in enumerate(shapes) for _ in range(num_in)]
        owners += [
            number
            for number, layer in enumerate(self._layers)
            if isinstance(layer, ModulatedConv2d)
            for _ in range(len(layer.weight))
        ]
        return torch.tensor(rows, device=device), torch.tensor(owners, device=device)
