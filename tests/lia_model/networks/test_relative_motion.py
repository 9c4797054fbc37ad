import numpy as np
import pytest
import torch

from lia_model.networks.relative_motion import add_to_source, is_relative, nearest_frame, split_first


def test_the_starting_frame_leaves_the_source_in_its_own_pose():
    start, source = torch.randn(5), torch.randn(1, 5)
    driving = torch.stack([start, start + torch.eye(5)[0]])
    moved = add_to_source(driving, start, source)
    torch.testing.assert_close(moved, torch.cat([source, source + torch.eye(5)[0]]))


def test_splitting_off_the_first_weights_loses_none():
    motion = [np.full(2, number, dtype=np.float32) for number in range(3)]
    first, stream = split_first(iter(motion))
    assert first is motion[0]
    assert all(one is other for one, other in zip(stream, motion, strict=True))
    first, stream = split_first([])
    assert (first, list(stream)) == (None, [])


def test_the_nearest_frame_is_the_earliest_of_ties():
    motion = np.array([[0, 0], [3, 4], [1, 1], [1, 1]], dtype=np.float32)
    assert nearest_frame(motion, np.array([1, 2], dtype=np.float32)) == 2
    assert nearest_frame(motion, np.array([9, 9], dtype=np.float32)) == 1


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="got mode 'sideways'; allowed are 'relative' and 'absolute'"):
        is_relative("sideways")
