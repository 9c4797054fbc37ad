import pytest
import torch

from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings


@pytest.fixture
def images():
    return torch.rand(3, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("size_px", [32, 64])
def test_the_image_that_comes_out_is_as_large_as_the_one_that_goes_in(size_px):
    settings = NetworkSettings(size_px=size_px, width=0.02, latent_dim=16, num_directions=4)
    source = torch.rand(2, 3, size_px, size_px)
    assert build_generator(settings)(source, source).shape == source.shape


def test_features_come_from_coarse_to_fine(generator, images):
    _, features = generator.encoder(images[0])
    assert [feature.shape[-1] for feature in features] == [8, 16, 32]


def test_relative_motion_from_the_first_frame_on_leaves_the_source_in_its_own_pose(generator, images):
    source, driving, _ = images
    start = generator.motion_weights(driving)
    torch.testing.assert_close(generator(source, driving, start), generator(source, source))


def test_absolute_motion_depends_on_the_driving_pose_alone(generator, images):
    source, driving, _ = images
    code, features = generator.encoder(source)
    moved = generator.move(code, generator.motion_weights(driving))
    torch.testing.assert_close(generator(source, driving), generator.synthesis(moved, features))


def test_no_driving_image_decodes_the_source_code_itself(generator, images):
    code, features = generator.encoder(images[0])
    torch.testing.assert_close(generator(images[0]), generator.synthesis(code, features))


def test_the_same_seed_gives_the_same_weights(network):
    first, second = (build_generator(network, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_building_with_a_seed_leaves_torchs_own_state_alone(network):
    before = torch.random.get_rng_state()
    build_generator(network, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_parameter_gets_a_gradient(generator, images):
    generator(images[0], images[1]).square().mean().backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None] == []
