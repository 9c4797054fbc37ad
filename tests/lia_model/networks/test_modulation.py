import copy

import pytest
import torch

from lia_model.networks.build import build_generator
from lia_model.networks.layers import fold_scales
from lia_model.networks.modulation import ModulatedConv2d
from lia_model.ops.modulated_conv2d import within_half
from lia_model.settings import NetworkSettings


@pytest.fixture
def modulate():
    """The modulations of a folded decoder, whose layers have several widths, some of them few inputs."""
    settings = NetworkSettings(size_px=128, width=0.1, latent_dim=16, num_directions=4)
    synthesis = build_generator(settings, seed=0).synthesis
    fold_scales(synthesis)
    with torch.no_grad():
        yield synthesis.modulate


def in_half(modulate):
    modulate = copy.deepcopy(modulate)
    for layer in modulate._layers:
        if isinstance(layer, ModulatedConv2d):
            layer.weight.data = layer.weight.data.half()
    return modulate


@pytest.mark.parametrize("loudness", [0.0, 1.0, 1e4])
def test_in_half_precision_the_styles_of_all_layers_are_bounded_each_by_its_own_largest(modulate, loudness):
    code = torch.randn(3, 16) * loudness
    layers = modulate._layers
    # Of the widest and first layer, which narrower ones must not see.
    modulate.weight[: layers[0].weight.shape[1]] *= 100
    for layer, exact, half in zip(layers, modulate(code), in_half(modulate)(code), strict=True):
        if not isinstance(layer, ModulatedConv2d):
            assert torch.equal(half.style, exact.style)
            continue
        style, loudest = within_half(exact.style)
        assert torch.equal(half.style, style)
        assert torch.equal(half.demodulate, exact.demodulate * loudest)


def test_a_style_that_would_overflow_half_precision_gives_a_finite_result(modulate):
    modulate = in_half(modulate)
    layer = modulate._layers[0]
    modulation = modulate(torch.randn(2, 16) * 1e5)[0]
    x = torch.randn(2, layer.weight.shape[1], 4, 4).half()
    assert layer(x, modulation).isfinite().all()
