import numpy as np
import pytest

from lia_model.animation.compositing import feather_mask, paste, resize, side_by_side
from preprocessing.media.boxes import Box
from preprocessing.media.images import cut


def grey(height, width, level):
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 34), (400, 399)])
def test_the_mask_rises_from_0_at_the_border_to_1_inside(height, width):
    mask = feather_mask(height, width)
    assert mask.shape == (height, width)
    assert mask[0].max() == mask[-1].max() == mask[:, 0].max() == mask[:, -1].max() == 0
    assert (mask[height // 4 : -height // 4, width // 4 : -width // 4] == 1).all()
    assert (np.diff(mask[: (height + 1) // 2], axis=0) >= 0).all()
    assert (np.diff(mask[:, : (width + 1) // 2], axis=1) >= 0).all()
    np.testing.assert_array_equal(mask, mask[::-1, ::-1])


def test_the_mask_has_no_visible_step():
    assert np.abs(np.diff(feather_mask(256, 256), axis=0)).max() < 0.06


def test_paste_fills_its_square_and_changes_nothing_else():
    photo = grey(80, 100, 50)
    pasted = paste(photo, grey(32, 32, 250), Box(20, 10, 60, 50))
    outside = np.ones((80, 100), bool)
    outside[10:50, 20:60] = False
    assert (pasted[outside] == 50).all()
    assert (pasted[20:40, 30:50] == 250).all()
    assert (photo == 50).all()


@pytest.mark.parametrize("box", [Box(-20, -30, 40, 30), Box(70, 50, 130, 110), Box(-20, -20, 120, 120)])
def test_parts_outside_the_photo_are_cut_off(box):
    pasted = paste(grey(80, 100, 50), grey(60, 60, 250), box)
    assert pasted.shape == (80, 100, 3)
    mask = np.zeros((400, 400), np.float32)
    mask[100 + round(box.top) : 100 + round(box.bottom), 100 + round(box.left) : 100 + round(box.right)] = (
        feather_mask(round(box.height), round(box.width))
    )
    wanted = 50 + 200 * mask[100:180, 100:200]
    assert np.abs(pasted[..., 0] - wanted).max() <= 0.51


def test_a_photo_survives_being_cut_out_and_put_back():
    rows, columns = np.mgrid[:120, :160]
    photo = np.stack([rows * 2, columns, rows + columns // 2], axis=2).astype(np.uint8)
    for box in (Box(30, 20, 94, 84), Box(-10.4, -7.6, 80.3, 83.1)):
        back = paste(photo, cut(photo, box, 64), box)
        assert np.abs(back.astype(int) - photo).max() <= 4
        assert np.abs(back.astype(int) - photo).mean() < 0.5


def test_pictures_in_a_row_have_the_height_of_the_last():
    row = side_by_side([grey(50, 100, 10), grey(32, 32, 20), grey(100, 60, 30)])
    assert row.shape == (100, 200 + 100 + 60, 3)
    assert [row[50, column, 0] for column in (0, 199, 200, 299, 300, 359)] == [10, 10, 20, 20, 30, 30]


def test_shrinking_averages_areas():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.abs(resize(stripes, 16, 16).astype(int) - 100).max() <= 1
