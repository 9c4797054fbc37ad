import pytest
import torch

from lia_model.networks.encoder import NUM_MOTION_LAYERS, Encoder, MotionHead


def test_features_double_their_side_up_to_that_of_the_image(network):
    code, features = Encoder(network)(torch.rand(2, 3, 32, 32))
    assert code.shape == (2, network.latent_dim)
    assert [tuple(feature.shape[2:]) for feature in features] == [(8, 8), (16, 16), (32, 32)]


def test_images_of_another_side_are_refused(network):
    with pytest.raises(ValueError, match="got images of 48x48 px; this network takes 32x32 px only"):
        Encoder(network)(torch.zeros(1, 3, 48, 48))


def test_every_image_of_a_batch_is_encoded_by_itself(network):
    images = torch.rand(3, 3, 32, 32)
    encoder = Encoder(network)
    codes, _ = encoder(images)
    for image, code in zip(images, codes, strict=True):
        torch.testing.assert_close(encoder(image[None])[0][0], code, atol=1e-4, rtol=1e-4)


def test_the_motion_head_is_an_affine_map_of_five_layers(network):
    head = MotionHead(network)
    assert len(head.layers) == NUM_MOTION_LAYERS == 5
    a, b = torch.randn(2, 1, network.latent_dim)
    torch.testing.assert_close(head((a + b) / 2), (head(a) + head(b)) / 2)
    assert head(a).shape == (1, network.num_directions)
