import pytest
import torch

from lia_model.device.selection import resolve_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_a_gpu_is_refused(device):
    with pytest.raises(ValueError, match=f"got device {device}, but torch .* finds 0 CUDA GPUs"):
        resolve_device(device)


def test_an_unknown_device_is_refused():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="got device 'gpu'; cpu, cuda, cuda:N or auto is allowed"):
        resolve_device("gpu")
