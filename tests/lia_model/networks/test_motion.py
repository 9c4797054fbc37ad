import pytest
import torch

from lia_model.networks.motion import MotionDictionary


def test_directions_are_orthonormal():
    directions = MotionDictionary(32, 6).directions()
    torch.testing.assert_close(directions.T @ directions, torch.eye(6), atol=1e-6, rtol=0)


def test_step_is_as_long_as_its_weights():
    weights = torch.randn(5, 6)
    step = MotionDictionary(32, 6)(weights)
    torch.testing.assert_close(step.norm(dim=1), weights.norm(dim=1))


def test_directions_stay_exact_under_autocast():
    dictionary = MotionDictionary(32, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert dictionary(torch.randn(2, 6)).dtype == torch.float32


def test_more_directions_than_dimensions_are_refused():
    with pytest.raises(ValueError, match="num_directions is 9, but at most latent_dim = 8"):
        MotionDictionary(8, 9)
