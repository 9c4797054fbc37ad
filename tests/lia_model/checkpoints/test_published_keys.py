import pytest
import torch

from lia_model.checkpoints.published_keys import (
    discriminator_keys,
    generator_keys,
    published_shape,
    unused_discriminator_entries,
    unused_generator_entries,
)
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.settings import NetworkSettings

NETWORKS = {
    "generator": (build_generator, generator_keys, unused_generator_entries),
    "discriminator": (build_discriminator, discriminator_keys, unused_discriminator_entries),
}


@pytest.mark.parametrize("size_px", [32, 256, 512])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_has_one_published_key_and_no_key_is_used_twice(network, size_px):
    build, keys_of, unused_of = NETWORKS[network]
    settings = NetworkSettings(size_px=size_px, width=0.02, latent_dim=16, num_directions=4)
    keys = keys_of(size_px)
    assert keys.keys() == build(settings).state_dict().keys()
    assert len(set(keys.values())) == len(keys)
    assert not unused_of(settings).keys() & set(keys.values())


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [
        # Modulated convolutions have a leading 1, biases of activations are [1, C, 1, 1].
        ("dec.convs.0.conv.weight", (8, 4, 3, 3), (1, 8, 4, 3, 3)),
        ("dec.to_rgbs.0.conv.0.weight", (3, 8, 1, 1), (3, 8, 1, 1)),
        ("dec.convs.0.activate.bias", (8,), (1, 8, 1, 1)),
        ("dec.convs.0.conv.modulation.bias", (8,), (8,)),
        ("enc.fc.0.bias", (8,), (8,)),
        ("dec.input.input", (1, 8, 4, 4), (1, 8, 4, 4)),
    ],
)
def test_published_shapes_differ_where_their_layers_do(key, ours, theirs):
    assert published_shape(key, torch.Size(ours)) == theirs
