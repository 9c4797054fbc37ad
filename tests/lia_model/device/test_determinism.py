import pytest
import torch

from lia_model.device.determinism import deterministic_algorithms


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    # What the module sets is removed again after the test.
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.parametrize("is_wanted", [True, False])
def test_torch_is_asked_for_deterministic_algorithms_inside_alone(is_wanted):
    with deterministic_algorithms(is_wanted):
        assert torch.are_deterministic_algorithms_enabled() == is_wanted
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_setting_found_stays():
    torch.use_deterministic_algorithms(True)
    try:
        for is_wanted in (True, False):
            with deterministic_algorithms(is_wanted):
                assert torch.are_deterministic_algorithms_enabled()
            assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
