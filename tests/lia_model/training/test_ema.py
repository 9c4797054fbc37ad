import pytest
import torch
from torch import nn

from lia_model.training.ema import update_average


@pytest.fixture
def networks():
    average, current = nn.Linear(2, 2), nn.Linear(2, 2)
    nn.init.constant_(average.weight, 0.0)
    nn.init.constant_(current.weight, 1.0)
    return average, current


def test_late_in_training_the_average_moves_by_one_minus_the_decay(networks):
    update_average(*networks, decay=0.9, step=10_000)
    torch.testing.assert_close(networks[0].weight, torch.full((2, 2), 0.1))


def test_early_on_the_random_start_is_forgotten_faster(networks):
    update_average(*networks, decay=0.999, step=0)
    torch.testing.assert_close(networks[0].weight, torch.full((2, 2), 0.9))


def test_no_decay_copies(networks):
    update_average(*networks, decay=0.0, step=5)
    torch.testing.assert_close(networks[0].weight, networks[1].weight)
