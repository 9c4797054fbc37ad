import pytest
import torch

from lia_model.settings import AugmentationSettings
from lia_model.training.pairs.augmentation import Change, apply_change, draw_change

NOTHING = {"is_mirrored": False, "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
BODIES = AugmentationSettings(flip=True, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1)


def change(**given):
    return Change(**(NOTHING | given), order=(0, 1, 2, 3))


@pytest.fixture
def pair():
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5


def luma(images):
    return torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114]), images)


def test_no_change_leaves_a_pair_as_it_is(pair):
    torch.testing.assert_close(apply_change(pair, change()), pair)


def test_a_change_is_a_function_of_seed_and_number():
    drawn = [draw_change(BODIES, 0, number) for number in range(50)]
    assert drawn == [draw_change(BODIES, 0, number) for number in range(50)]
    assert drawn != [draw_change(BODIES, 1, number) for number in range(50)]
    assert 10 < sum(one.is_mirrored for one in drawn) < 40
    assert all(0.9 <= one.brightness <= 1.1 and -0.1 <= one.hue <= 0.1 for one in drawn)
    assert len({one.order for one in drawn}) > 5


def test_settings_of_zero_change_nothing(pair):
    off = AugmentationSettings(flip=False, brightness=0, contrast=0, saturation=0, hue=0)
    torch.testing.assert_close(apply_change(pair, draw_change(off, 3, 7)), pair)


def test_mirroring_exchanges_left_and_right(pair):
    torch.testing.assert_close(apply_change(pair, change(is_mirrored=True)), pair.flip(3))


def test_brightness_multiplies_the_colours(pair):
    bright = apply_change(pair, change(brightness=1.2))
    torch.testing.assert_close((bright + 1) / 2, (pair + 1) / 2 * 1.2)


def test_without_saturation_all_colours_are_grey(pair):
    grey = apply_change(pair, change(saturation=0.0))
    assert grey.std(dim=1).max() < 1e-6


def test_a_whole_turn_of_the_hue_is_none_and_half_a_turn_keeps_the_luma(pair):
    torch.testing.assert_close(apply_change(pair, change(hue=1.0)), pair, atol=1e-4, rtol=0)
    muted = pair * 0.3
    turned = apply_change(muted, change(hue=0.5))
    torch.testing.assert_close(luma(turned), luma(muted), atol=1e-4, rtol=0)
    assert (turned - muted).abs().max() > 0.05


def test_contrast_keeps_the_mean_of_the_pair(pair):
    muted = pair * 0.3
    strong = apply_change(muted, change(contrast=1.5))
    assert abs(float(luma(strong).mean() - luma(muted).mean())) < 1e-5
    assert float(luma(strong).std() / luma(muted).std()) == pytest.approx(1.5, rel=1e-4)


def test_every_change_takes_part(pair):
    both = apply_change(pair, change(brightness=1.1, contrast=0.9, saturation=0.8, hue=0.1))
    for left_out in ("brightness", "contrast", "saturation", "hue"):
        given = {"brightness": 1.1, "contrast": 0.9, "saturation": 0.8, "hue": 0.1}
        del given[left_out]
        assert not torch.allclose(apply_change(pair, change(**given)), both)
