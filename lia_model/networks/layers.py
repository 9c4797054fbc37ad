"""Layers shared by the networks: equalised learning rate and residual blocks (Karras et al. 2018 and 2020).

Axes: B batch, C I O channels, H W pixels, N M features.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lia_model.ops.bias_act import GAIN, bias_act, conv_act
from lia_model.ops.upfirdn2d import blur

PUBLISHED_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}


def num_channels(side_px: int, width: float) -> int:
    """Return the channels of maps of side `side_px`: the published count times `width`, at least 8."""
    return max(8, round(PUBLISHED_CHANNELS[side_px] * width))


def octaves(size_px: int) -> list[int]:
    """Return the sides 8, 16, … `size_px`."""
    return [2**power for power in range(3, size_px.bit_length())]


def channels_last(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Return `x` with channels side by side in memory.

    A GPU's convolutions transpose whatever comes in another layout, and a CPU's poolings, filters and bf16
    convolutions are slower in it.
    """
    return x.contiguous(memory_format=torch.channels_last)


def laid_out(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Return `x` in channels_last, or on a CPU, without gradients, in the layout in which sums round least.

    The latter is channels_last, but not on a CPU with AVX512, where it makes a latent code's error six times
    as large: a pixel of the published values was 2.1e-2 off with it and 0.8e-2 without. `InferenceModel` and
    training, which are to be fast, take channels_last everywhere.
    """
    # The compiler cannot ask for the processor; what it makes rounds in its own way.
    if torch.is_grad_enabled() or x.device.type != "cpu" or torch.compiler.is_compiling():
        return channels_last(x)
    return x if torch.backends.cpu.get_cpu_capability() == "AVX512" else channels_last(x)


class Foldable(nn.Module):
    """A module that can compute once what is the same in every forward pass."""

    def fold(self) -> None:
        """Change the weights in place, so that what the module computes stays the same."""
        raise NotImplementedError


class ScaledLayer(Foldable):
    """A layer that multiplies its weights by `scale` when it uses them (equalised learning rate)."""

    weight: nn.Parameter
    scale: float

    def scaled_weight(self) -> Tensor:
        """Return the weights as used."""
        return self.weight if self.scale == 1 else self.weight * self.scale

    def fold(self) -> None:
        """Multiply the scale into the weights, once and for all, and lay them out."""
        self.weight.data = self.weight.data * self.scale
        self.scale = 1.0
        self.lay_out()

    def lay_out(self) -> None:
        """Lay the weights of a convolution out as it reads them beside channels_last images."""
        layout = torch.channels_last if self.weight.ndim == 4 else torch.contiguous_format
        self.weight.data = self.weight.data.contiguous(memory_format=layout)


@torch.no_grad()
def lay_out_weights(network: nn.Module) -> None:
    """Lay out weights, in place, as convolutions read them beside channels_last images."""
    for layer in network.modules():
        if isinstance(layer, ScaledLayer):
            layer.lay_out()


@torch.no_grad()
def fold_scales(network: nn.Module) -> None:
    """Prepare for inference on channels_last images, in place: run-time scales go into the weights.

    What the network computes stays the same, up to rounding; its state dict is no longer a checkpoint's.
    """
    for layer in network.modules():
        if isinstance(layer, Foldable):
            layer.fold()


class EqualizedConv2d(ScaledLayer):
    """Convolution without bias whose weights are N(0, 1), scaled by gain/√fan-in when used."""

    def __init__(
        self,
        num_in: int,
        num_out: int,
        kernel_px: int,
        *,
        stride: int = 1,
        padding_px: int = 0,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in, kernel_px, kernel_px))
        self.scale = gain / math.sqrt(num_in * kernel_px**2)
        self.stride = stride
        self.padding_px = padding_px

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O H2 W2"]:
        """Convolve."""
        return functional.conv2d(x, self.scaled_weight(), stride=self.stride, padding=self.padding_px)


class EqualizedLinear(ScaledLayer):
    """Linear layer whose weights are N(0, 1), scaled by 1/√fan-in when used; the bias is not scaled."""

    def __init__(self, num_in: int, num_out: int, *, bias: float = 0.0, activate: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in))
        self.bias = nn.Parameter(torch.full((num_out,), bias))
        self.scale = 1 / math.sqrt(num_in)
        self.activate = activate

    def forward(self, x: Float[Tensor, "B N"]) -> Float[Tensor, "B M"]:
        """Map, with leaky ReLU where the layer was built with `activate`."""
        if self.activate:
            return bias_act(functional.linear(x, self.scaled_weight()), self.bias)
        return functional.linear(x, self.scaled_weight(), self.bias)


class ConvAct(Foldable):
    """Equalised convolution that keeps the size, bias and leaky ReLU."""

    def __init__(self, num_in: int, num_out: int, kernel_px: int) -> None:
        super().__init__()
        # The activation's gain stands before it, where it costs nothing: leaky ReLU commutes with it.
        self.conv = EqualizedConv2d(num_in, num_out, kernel_px, padding_px=kernel_px // 2, gain=GAIN)
        self.bias = nn.Parameter(torch.zeros(num_out))
        self.bias_scale = GAIN

    def scaled_bias(self) -> Float[Tensor, " O"]:
        """Return the bias as used."""
        return self.bias if self.bias_scale == 1 else self.bias * self.bias_scale

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O H W"]:
        """Convolve and activate."""
        weight = self.conv.scaled_weight()
        return conv_act(x, weight, self.scaled_bias(), padding_px=self.conv.padding_px)

    def fold(self) -> None:
        """Multiply the scale into the bias, once and for all; the convolution sees to its own."""
        self.bias.mul_(self.bias_scale)
        self.bias_scale = 1.0


class ResidualBlock(nn.Module):
    """Halve the side: two 3×3 convolutions beside a 1×1 skip, both blurred before their stride of 2.

    Both branches are divided by √2 before they meet; in the main one that cancels the activation's gain.
    """

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.conv = ConvAct(num_in, num_in, 3)
        self.down = EqualizedConv2d(num_in, num_out, 3, stride=2)
        self.down_bias = nn.Parameter(torch.zeros(num_out))
        self.skip = EqualizedConv2d(num_in, num_out, 1, gain=math.sqrt(0.5))

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O H//2 W//2"]:
        """Return (main + skip) / √2."""
        main = conv_act(
            blur(self.conv(x), (2, 2)), self.down.scaled_weight(), self.down_bias, stride=self.down.stride
        )
        # The 1×1 convolution reads every second sample only, so the blur skips the others.
        skip = self.skip(blur(x, (1, 1), stride=2))
        return skip.add_(main)
