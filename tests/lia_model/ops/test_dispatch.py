import logging

import pytest
import torch

from lia_model.ops import dispatch
from lia_model.ops.bias_act import bias_act


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(dispatch, "_told", set())


@pytest.fixture
def without_triton(monkeypatch):
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)


def test_on_the_cpu_auto_is_the_reference_without_a_word(fresh, caplog):
    assert not dispatch.takes_fused("bias_act", torch.zeros(1), "auto")
    assert not caplog.records


def test_on_cuda_auto_is_fused():
    assert dispatch._decide("bias_act", "cuda", torch.bfloat16, "auto")


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
def test_on_cuda_an_unsupported_type_takes_the_reference_and_says_so_once(fresh, caplog, dtype):
    with caplog.at_level(logging.WARNING):
        assert not any(dispatch._decide("bias_act", "cuda", dtype, "auto") for _ in range(3))
    (record,) = caplog.records
    assert str(dtype).removeprefix("torch.") in record.getMessage()


def test_on_cuda_without_triton_each_op_says_so_once(fresh, without_triton, caplog):
    with caplog.at_level(logging.WARNING):
        for op in ("bias_act", "flow_warp", "bias_act"):
            assert not dispatch._decide(op, "cuda", torch.float32, "auto")
    assert [record.getMessage().split()[0] for record in caplog.records] == ["bias_act", "flow_warp"]
    assert all("triton is not installed" in record.getMessage() for record in caplog.records)


def test_fused_asked_for_without_triton_is_an_error(without_triton):
    with pytest.raises(ValueError, match="impl='fused', but triton is not installed: "):
        bias_act(torch.zeros(1, 2), torch.zeros(2), impl="fused")


def test_fused_asked_for_in_float64_is_an_error():
    with pytest.raises(ValueError, match=r"takes float32, bfloat16 and float16, not float64: .* 'auto'"):
        bias_act(torch.zeros(1, 2).double(), torch.zeros(2), impl="fused")


def test_fused_asked_for_on_the_cpu_is_an_error(monkeypatch):
    monkeypatch.setattr("lia_model.ops.kernels.INTERPRETED", False)
    with pytest.raises(ValueError, match=r"kernels run on CUDA .*not on cpu: "):
        bias_act(torch.zeros(1, 2), torch.zeros(2), impl="fused")


def test_inside_use_auto_means_what_was_chosen_and_what_is_asked_for_still_counts(kernel_device):
    x = torch.zeros(1, device=kernel_device)
    with dispatch.use("fused"):
        assert dispatch.takes_fused("bias_act", x, "auto")
        assert not dispatch.takes_fused("bias_act", x, "reference")
        with dispatch.use("reference"):
            assert not dispatch.takes_fused("bias_act", x, "auto")
            assert dispatch.takes_fused("bias_act", x, "fused")
    assert dispatch.takes_fused("bias_act", x, "auto") == x.is_cuda


def test_an_unknown_implementation_is_an_error():
    # Below the functions whose types the tests' own checks guard.
    with pytest.raises(ValueError, match="impl is 'fast'; it is 'auto', 'reference' or 'fused': choose one"):
        dispatch._known.__wrapped__("fast")
