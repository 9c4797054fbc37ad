import pytest
import torch

from lia_model.networks.build import build_discriminator, build_generator


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_fresh_weights_are_a_function_of_the_seed(build, network):
    assert torch.equal(weights(build(network, seed=3)), weights(build(network, seed=3)))
    assert not torch.equal(weights(build(network, seed=3)), weights(build(network, seed=4)))


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_a_seed_leaves_torchs_own_random_state_as_it_was(build, network):
    before = torch.get_rng_state()
    build(network, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    build(network)
    assert not torch.equal(torch.get_rng_state(), before)
