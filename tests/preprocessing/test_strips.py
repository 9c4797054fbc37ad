import numpy as np
import pytest

from preprocessing.strips import GAP_PX, LABEL_PX, evenly_spaced, grid, labelled_grid


@pytest.mark.parametrize("num_items", range(1, 30))
@pytest.mark.parametrize("most", [1, 2, 8])
def test_positions_are_distinct_in_order_and_reach_both_ends(num_items, most):
    places = evenly_spaced(num_items, most).tolist()
    assert len(places) == min(num_items, most)
    assert places == sorted(set(places))
    assert places[0] == 0
    if len(places) > 1:
        assert places[-1] == num_items - 1
        assert max(np.diff(places)) - min(np.diff(places)) <= 1


def test_a_grid_has_every_tile_in_its_place():
    tiles = np.random.default_rng(0).integers(0, 255, (2, 3, 5, 4, 3), dtype=np.uint8)
    picture = grid(tiles)
    assert picture.shape == (2 * 5, 3 * 4, 3)
    for row in range(2):
        for column in range(3):
            tile = picture[5 * row : 5 * row + 5, 4 * column : 4 * column + 4]
            np.testing.assert_array_equal(tile, tiles[row, column])


def test_a_labelled_grid_writes_beside_its_tiles_and_not_over_them():
    tiles = np.full((2, 4, 40, 40, 3), 200, np.uint8)
    picture = labelled_grid([list(row) for row in tiles], ["1", "2"], ["a", "b", "c", "d"], "x")
    side = 40 + GAP_PX
    assert picture.shape == (LABEL_PX + 2 * side, 2 * LABEL_PX + 4 * side, 3)
    for row in range(2):
        top = LABEL_PX + side * row
        assert picture[top : top + 40, : 2 * LABEL_PX].min() < 100
        for column in range(4):
            left = 2 * LABEL_PX + side * column
            assert (picture[top : top + 40, left : left + 40] == 200).all()
            assert picture[:LABEL_PX, left : left + 40].min() < 100
    assert picture[:LABEL_PX, : 2 * LABEL_PX].min() < 100
