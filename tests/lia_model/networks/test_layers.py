import torch

from lia_model.networks.build import build_discriminator
from lia_model.networks.layers import (
    EqualizedConv2d,
    EqualizedLinear,
    ResidualBlock,
    ScaledLayer,
    fold_scales,
    num_channels,
    octaves,
)


def test_width_one_is_the_published_channel_list():
    assert [num_channels(side, 1.0) for side in (4, 32, 64, 256, 1024)] == [512, 512, 256, 64, 16]


def test_narrow_networks_keep_eight_channels():
    assert num_channels(1024, 0.1) == 8


def test_octaves_run_from_eight_to_the_image():
    assert octaves(64) == [8, 16, 32, 64]


def test_equalised_layers_keep_the_variance_of_their_input():
    torch.manual_seed(0)
    x = torch.randn(64, 256)
    assert 0.8 < EqualizedLinear(256, 256)(x).std() < 1.2
    image = torch.randn(2, 64, 16, 16)
    assert 0.8 < EqualizedConv2d(64, 64, 3)(image).std() < 1.2


def test_a_residual_block_halves_the_side():
    assert ResidualBlock(8, 12)(torch.randn(2, 8, 16, 16)).shape == (2, 12, 8, 8)


def test_folded_scales_change_nothing_but_the_work(generator, network):
    images = torch.rand(2, 3, network.size_px, network.size_px)
    for net in (generator, build_discriminator(network, seed=0)):
        with torch.no_grad():
            wanted = net(images)
            fold_scales(net)
            torch.testing.assert_close(net(images), wanted, atol=1e-5, rtol=1e-4)
        scales = [layer.scale for layer in net.modules() if isinstance(layer, ScaledLayer)]
        assert set(scales) == {1.0}
        fold_scales(net)
        torch.testing.assert_close(net(images), wanted, atol=1e-5, rtol=1e-4)
