"""Compile every kernel to machine code as its launch asks for it, without a GPU; run by test_compile.py.

A process of its own: kernels must not be interpreted here.
"""

import sys

import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from triton.runtime import JITFunction

from lia_model.ops import dispatch, kernels
from lia_model.ops.bias_act import bias_act
from lia_model.ops.upfirdn2d import blur, upsample
from lia_model.ops.warp import flow_warp, identity_grid

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
compiled = []


def compile_instead(kernel, *args, grid, warmup, **constants):
    signature, fixed = {}, dict(constants)
    for name, value in zip(kernel.arg_names, args, strict=False):
        if isinstance(value, torch.Tensor):
            signature[name] = TYPES[value.dtype]
        elif value == 1:
            fixed[name] = value  # Triton specialises on it.
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
    signature = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    assert compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32)).asm["cubin"]
    compiled.append(kernel.fn.__name__)


def main():
    JITFunction.run = compile_instead
    kernels.INTERPRETED = True
    for dtype, layout in ((torch.float32, torch.contiguous_format), (torch.bfloat16, torch.channels_last)):
        x = torch.randn(2, 48, 16, 16).to(dtype, memory_format=layout).requires_grad_()
        flow, bias, scale = torch.randn(2, 3, 16, 16), torch.randn(48), torch.rand(2, 48)
        with dispatch.use("fused"):
            y = bias_act(x, bias, scale).sum() + bias_act(x, bias).sum()
            y = y + blur(x, (2, 2)).sum() + blur(x, (1, 1), stride=2).sum() + upsample(x).sum()
            (y + sum(flow_warp(flow, x, x, identity_grid(16))).sum()).backward()
    assert len(compiled) == 24, compiled


if __name__ == "__main__":
    main()
