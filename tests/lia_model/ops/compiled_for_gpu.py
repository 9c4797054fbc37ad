"""Compile every kernel to machine code as its launch asks for it, without a GPU; run by test_compile.py.

Writes the instructions that add to memory or wait for it, by kernel, as JSON. A process of its own: kernels
must not be interpreted here.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from triton.runtime import JITFunction

from lia_model.ops import dispatch, kernels
from lia_model.ops.bias_act import bias_act
from lia_model.ops.l1 import sum_of_l1
from lia_model.ops.projection import color_projection, modulated_projection
from lia_model.ops.upfirdn2d import blur, upsample
from lia_model.ops.warp import flow_warp, identity_grid

TYPES = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
}
# Additions that return nothing and that return what was there; fences, and what waits for them or empties L1.
WATCHED = re.compile(r"^\s+/\*\w+\*/\s+(?:@!?U?P\w+ )?(RED|ATOM|MEMBAR|FENCE|ERRBAR|CCTL)", re.MULTILINE)
compiled = []
instructions = defaultdict(Counter)


def compile_instead(kernel, *args, grid, warmup, **constants):
    signature, fixed = {}, dict(constants)
    for name, value in zip(kernel.arg_names, args, strict=False):
        if isinstance(value, int) and value == 1:
            fixed[name] = value  # Triton specialises on it.
        else:
            signature[name] = type_of(value)
    signature = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    binary = compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32)).asm["cubin"]
    name = f"{kernel.fn.__module__.split('.')[-1]}.{kernel.fn.__name__}"
    compiled.append(name)
    instructions[name].update(WATCHED.findall(disassembled(binary)))


def type_of(value):
    if isinstance(value, tuple):
        return tuple(map(type_of, value))
    if isinstance(value, torch.Tensor):
        return TYPES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def disassembled(binary):
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        return subprocess.run(
            [knobs.nvidia.nvdisasm.path, "-c", file.name], check=True, capture_output=True, text=True
        ).stdout


def main():
    JITFunction.run = compile_instead
    kernels.INTERPRETED = True
    for dtype, layout in ((torch.float32, torch.contiguous_format), (torch.bfloat16, torch.channels_last)):
        x = torch.randn(2, 48, 16, 16).to(dtype, memory_format=layout).requires_grad_()
        flow, bias, scale = torch.randn(2, 3, 16, 16), torch.randn(48), torch.rand(2, 48).requires_grad_()
        with dispatch.use("fused"):
            y = bias_act(x, bias, scale).sum() + bias_act(x, bias).sum()
            y = y + blur(x, (2, 2)).sum() + blur(x, (1, 1), stride=2).sum() + upsample(x).sum()
            warped, blended = flow_warp(flow, x, x, identity_grid(16))
            for outputs in (warped.sum(), (y + blended.sum() + warped.sum())):
                outputs.backward(retain_graph=True)
            three, below = torch.randn(3), torch.randn(2, 3, 8, 8)
            modulated_projection(x, torch.randn(3, 48, 1, 1), scale, three, below).sum().backward()
            with torch.no_grad():
                bias_act(x, bias, scale, after=scale)
                color_projection(x, torch.randn(3, 48, 1, 1).to(dtype), three.to(dtype), three)
            sum_of_l1([x, x[:, :5]], [warped, warped[:, :5]]).backward()
            torch.use_deterministic_algorithms(True)
            warped.sum().backward()
            torch.use_deterministic_algorithms(False)
    assert len(compiled) == 40, compiled
    sys.stdout.write(json.dumps(instructions))


if __name__ == "__main__":
    main()
