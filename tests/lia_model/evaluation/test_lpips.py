import pytest
import torch
from safetensors.torch import load_file, save_file

from lia_model.evaluation.lpips import Lpips


def test_lpips_grows_with_noise(models):
    lpips = Lpips(models / "lpips_alex.safetensors")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    noise = torch.randn_like(image)
    distances = [float(lpips(image, image + level * noise)) for level in (0.0, 0.05, 0.3)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]


def test_a_file_without_the_heads_is_refused(models, tmp_path):
    weights = load_file(models / "lpips_alex.safetensors")
    del weights["lin3.weight"]
    save_file(weights, tmp_path / "alexnet.safetensors")
    with pytest.raises(ValueError, match=r"holds no LPIPS head lin3\.weight: run `lia fetch models`"):
        Lpips(tmp_path / "alexnet.safetensors")
