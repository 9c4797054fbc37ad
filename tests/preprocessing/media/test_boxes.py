import numpy as np
import pytest

from preprocessing.media.boxes import Box, iou, is_inside, middle_square, scale_box, square_around, union


def test_a_box_overlaps_itself_wholly_and_a_neighbour_not_at_all():
    box = Box(10, 20, 30, 60)
    assert iou(box, box) == 1
    assert iou(box, Box(30, 20, 50, 60)) == 0


def test_overlap_is_symmetric_and_between_nothing_and_everything():
    random = np.random.default_rng(0)
    for _ in range(50):
        left, top, width, height = random.uniform(0, 100, (4, 2))
        first, second = (Box(*side) for side in zip(left, top, left + width, top + height, strict=True))
        assert 0 <= iou(first, second) == iou(second, first) <= 1


def test_half_covered_box_has_half_the_overlap():
    assert iou(Box(0, 0, 10, 10), Box(0, 0, 10, 5)) == 0.5


def test_union_holds_every_box():
    assert union(np.array([[0.0, 5, 10, 15], [5, 0, 8, 20]])) == Box(0, 0, 10, 20)


def test_union_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no boxes"):
        union(np.empty((0, 4)))


def test_square_of_a_100_by_140_box_has_side_168_and_the_same_centre():
    square = square_around(Box(50, 30, 150, 170), 1.2)
    assert (square.width, square.height) == (168, 168)
    assert square.centre == (100, 100)


def test_box_at_the_edge_is_inside_and_one_beyond_is_not():
    assert is_inside(Box(0, 0, 64, 48), (64, 48))
    assert not is_inside(Box(0, 0, 65, 48), (64, 48))


def test_box_follows_its_frame_to_another_size():
    assert scale_box(Box(10, 10, 20, 20), (100, 100), (200, 50)) == Box(20, 5, 40, 10)


@pytest.mark.parametrize(
    ("size", "box"), [((60, 40), (10, 0, 50, 40)), ((40, 60), (0, 10, 40, 50)), ((41, 40), (0, 0, 40, 40))]
)
def test_the_middle_square_is_as_large_as_fits(size, box):
    assert middle_square(size) == Box(*box)
