"""Compiled without a graph break, ops and networks compute what they do eagerly; run by test_compile.py.

A process of its own: the shape checks of the tests would break graphs.
"""

import sys

import torch

from lia_model.device.precision import float32_products
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.ops import dispatch
from lia_model.ops.bias_act import bias_act
from lia_model.ops.modulated_conv2d import modulated_conv2d
from lia_model.ops.upfirdn2d import upsample
from lia_model.ops.warp import flow_warp, identity_grid
from lia_model.settings import NetworkSettings

SETTINGS = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)


def ops(x, feature, weight, style, bias, grid):
    y = modulated_conv2d(x, weight, style, bias, upsample=True)
    flow = upsample(bias_act(x, bias))[:, :3]
    return sum(flow_warp(flow, feature, y, grid))


def compiled(function):
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def check(function, inputs, implementation):
    results = []
    for run in (function, compiled(function)):
        with dispatch.use(implementation):
            y = run(*inputs)
        learning = [x for x in inputs if x.requires_grad]
        results.append([y, *torch.autograd.grad(y.square().sum(), learning)])
    for eager, graph in zip(*results, strict=True):
        torch.testing.assert_close(graph, eager)


def main(implementation):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    shapes = [(2, 3, 4, 4), (2, 3, 8, 8), (3, 3, 3, 3), (2, 3), (3,)]
    tensors = [torch.randn(shape, device=device, requires_grad=True) for shape in shapes]
    check(ops, [*tensors, identity_grid(8).to(device)], implementation)
    image = torch.rand(2, 3, 32, 32, device=device, requires_grad=True)
    if implementation == "fused" and device == "cpu":
        return  # An interpreted network takes minutes.
    generator = build_generator(SETTINGS, seed=0).to(device)
    check(generator, [image, image.flip(0)], implementation)
    check(build_discriminator(SETTINGS, seed=0).to(device), [image], implementation)
    with torch.inference_mode(), dispatch.use(implementation):
        frozen = image.to(memory_format=torch.channels_last)
        eager = generator(frozen)
        torch.testing.assert_close(compiled(generator)(frozen), eager)


if __name__ == "__main__":
    with float32_products("fp32"):
        main(sys.argv[1])
