"""Fused kernels against the plain PyTorch that specifies them: values, layouts and gradients."""

import pytest
import torch

# Of the largest value there. Kernels compute in float32 and round once, the reference after each step: a few
# units in the last place of the type, which are 6e-8, 4e-3 and 5e-4.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2.5e-3}

dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["fp32", "bf16", "fp16"])
layouts = pytest.mark.parametrize("layout", ["nchw", "channels_last", "strided"])


def drawn(shape, dtype, device, layout="nchw", seed=0):
    """Random values in `layout`; `strided` leaves gaps between the rows and between the columns."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device, dtype)
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    if layout == "strided":
        x = torch.repeat_interleave(x, 2, dim=-1)[..., ::2]
        x = torch.repeat_interleave(x, 2, dim=-2)[..., ::2, :]
    return x.requires_grad_()


def assert_same(op, inputs, second=False):
    """Check `op(*inputs, impl)`; with `second` also the gradients of its gradients."""
    tolerance = TOLERANCE[inputs[0].dtype]
    chains = [_derived(op, inputs, impl, second) for impl in ("reference", "fused")]
    for wanted, got in zip(*chains, strict=True):
        assert got.dtype == wanted.dtype
        torch.testing.assert_close(got, wanted, atol=tolerance * max(1, wanted.abs().max().item()), rtol=0)


def _derived(op, inputs, impl, second):
    outputs = op(*inputs, impl)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for y in outputs:
        # Torch's own depthwise convolution on CUDA answers channels_last with NCHW in some types.
        assert layout_of(y) == layout_of(inputs[0]) or (impl == "reference" and y.is_cuda)
    cotangents = [drawn(y.shape, y.dtype, y.device, seed=1 + place) for place, y in enumerate(outputs)]
    gradients = torch.autograd.grad(outputs, inputs, cotangents, create_graph=second)
    if not second:
        return *outputs, *gradients
    total = sum((g * drawn(g.shape, g.dtype, g.device, seed=9)).sum() for g in gradients)
    again = torch.autograd.grad(total, [*inputs, *cotangents], allow_unused=True)
    zeros = (torch.zeros_like(x) for x in (*inputs, *cotangents))
    return *outputs, *gradients, *(zero if g is None else g for g, zero in zip(again, zeros, strict=True))


def layout_of(x):
    return "channels_last" if x.stride(1) == 1 and x.shape[1] > 1 else "nchw"
