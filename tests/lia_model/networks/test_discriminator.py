import pytest
import torch

from lia_model.networks.build import build_discriminator
from lia_model.networks.discriminator import minibatch_deviation


def test_two_batches_in_one_call_are_judged_as_if_alone(network):
    discriminator = build_discriminator(network, seed=0)
    real, fake = torch.randn(2, 4, 3, 32, 32)
    together = discriminator(torch.cat((real, fake)), num_batches=2)
    torch.testing.assert_close(together, torch.cat((discriminator(real), discriminator(fake))))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 6, 8, 9])
def test_any_batch_size_works(network, batch):
    assert build_discriminator(network, seed=0)(torch.randn(batch, 3, 32, 32)).shape == (batch, 1)


def test_the_deviation_of_equal_samples_is_nothing_and_is_the_same_over_a_group():
    same = torch.randn(1, 5, 4, 4).expand(4, 5, 4, 4).contiguous()
    assert minibatch_deviation(same).max() < 1e-3
    mixed = minibatch_deviation(torch.randn(8, 5, 4, 4))
    # Members of a group stand B/4 apart: samples 0, 2, 4, 6 and samples 1, 3, 5, 7.
    assert mixed[:, 0, 0, 0].tolist() == mixed[[0, 1] * 4, 0, 0, 0].tolist()
    assert mixed[0, 0, 0, 0] != mixed[1, 0, 0, 0]
