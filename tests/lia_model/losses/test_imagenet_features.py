import pytest
import torch

from lia_model.losses.imagenet_features import ImageNetNormalize, build_features


def test_vgg_features_are_the_first_relu_of_each_block(models):
    features = build_features("vgg16", models / "vgg16.safetensors")
    shapes = [feature.shape[1:] for feature in features(torch.rand(1, 3, 32, 32))]
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]


def test_a_file_with_another_network_is_refused(models):
    with pytest.raises(ValueError, match="does not hold vgg16"):
        build_features("vgg16", models / "lpips_alex.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors does not exist"):
        build_features("vgg16", tmp_path / "none.safetensors")


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
def test_the_smallest_image_still_has_features_and_a_smaller_one_does_not(backbone, models):
    file = {"vgg16": "vgg16.safetensors", "alexnet": "lpips_alex.safetensors"}[backbone]
    features = build_features(backbone, models / file)
    side = features.min_side_px
    assert min(features(torch.rand(1, 3, side, side))[-1].shape[2:]) == 1
    with pytest.raises(RuntimeError):
        features(torch.rand(1, 3, side // 2, side // 2))


def test_imagenets_mean_colour_is_normalised_to_zero_and_colours_are_clamped():
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 2 - 1
    normalize = ImageNetNormalize()
    torch.testing.assert_close(normalize(mean), torch.zeros(1, 3, 1, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(normalize(torch.full((1, 3, 1, 1), 3.0)), normalize(torch.ones(1, 3, 1, 1)))
