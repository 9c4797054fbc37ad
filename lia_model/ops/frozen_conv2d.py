"""Convolution and ReLU under weights that never change, as in feature networks.

A CPU's library lays the weights of a convolution out for its instructions in every call, which in the small
maps of deep layers takes longer than the arithmetic. Frozen weights are converted and laid out once, also for
the gradient of the input: at stride 1 that is the convolution with the weights turned by half a circle.
Axes: B batch, I O channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

LAID_OUT_DTYPES = (torch.float32, torch.bfloat16)


class FrozenConvRelu(nn.Module):
    """Convolution, bias and ReLU; first gradients of the input exist, and weights get none."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        weight: Float[Tensor, "O I k k"],
        bias: Float[Tensor, " O"],
        *,
        stride: int = 1,
        padding_px: int = 0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.stride = stride
        self.padding_px = padding_px
        self._converted: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
        self._laid_out: dict[torch.dtype, _LaidOut] = {}

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O H2 W2"]:
        """Convolve in the type of `x`, whatever autocast says, and cut off what is negative."""
        if self._may_lay_out(x):
            if x.dtype not in self._laid_out:
                self._laid_out[x.dtype] = _LaidOut(self.weight, self.bias, x.dtype)
            return _ConvRelu.apply(x, self._laid_out[x.dtype])
        if x.dtype not in self._converted:
            layout = torch.channels_last
            converted = self.weight.to(x.dtype).contiguous(memory_format=layout)
            self._converted[x.dtype] = (converted, self.bias.to(x.dtype))
        weight, bias = self._converted[x.dtype]
        with torch.autocast(x.device.type, enabled=False):
            y = functional.conv2d(x, weight, bias, stride=self.stride, padding=self.padding_px)
        return functional.relu(y)

    def _may_lay_out(self, x: Tensor) -> bool:
        keeps_size = self.stride == 1 and self.weight.shape[-1] == 2 * self.padding_px + 1
        return keeps_size and x.dtype in LAID_OUT_DTYPES and _is_laid_out_on(x.device, x.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenConvRelu:
        # Weights that move or change their type are prepared anew.
        self._converted.clear()
        self._laid_out.clear()
        super()._apply(fn, recurse)
        return self


def _is_laid_out_on(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether torch offers its library's layouts: on x86 CPUs, in its eager mode."""
    if device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):
        return False
    # A CPU with AVX2 alone has no bf16 there; torch's own convolution computes it all the same.
    return dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _LaidOut:
    """The weights of one convolution in the layout of the CPU's library, for both directions."""

    @torch.no_grad()
    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self.padding_px = weight.shape[-1] // 2
        self.bias = bias.to(dtype)
        self.weight = self._lay_out(weight.to(dtype))
        self.turned = self._lay_out(weight.flip(2, 3).transpose(0, 1).to(dtype))

    def _lay_out(self, weight: Tensor) -> Tensor:
        weight = weight.contiguous(memory_format=torch.channels_last)
        padding = [self.padding_px] * 2
        return torch.ops.mkldnn._reorder_convolution_weight(weight, padding, [1, 1], [1, 1], 1)

    def convolve(self, x: Tensor) -> Tensor:
        return self._run(x, self.weight, self.bias, "relu")

    def convolve_back(self, grad: Tensor) -> Tensor:
        return self._run(grad, self.turned, None, "none")

    def _run(self, x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
        padding = [self.padding_px] * 2
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, padding, [1, 1], [1, 1], 1, activation, [], ""
        )


class _ConvRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: _LaidOut) -> Tensor:  # noqa: ANN401 - torch's own
        y = weights.convolve(x)
        ctx.weights = weights
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride]
        (y,) = ctx.saved_tensors
        return ctx.weights.convolve_back(torch.ops.aten.threshold_backward(*grad_outputs, y, 0)), None
