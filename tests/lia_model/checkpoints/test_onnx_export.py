import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from lia_model.checkpoints.directory import save_generator
from lia_model.checkpoints.onnx_export import ENCODER, PAINTER, export_onnx

CHECKOUT = Path(__file__).parents[3]


def outputs(path: Path, *inputs: torch.Tensor | np.ndarray):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(
        None, {each.name: np.asarray(x) for each, x in zip(session.get_inputs(), inputs, strict=True)}
    )


@pytest.mark.slow
@torch.no_grad()
def test_the_graphs_animate_as_the_generator_does(generator, tmp_path):
    save_generator(tmp_path / "model", generator)
    # The shape checks of the test run cannot be exported, so this happens in a process without them.
    command = [Path(sys.executable).with_name("lia"), "export-onnx", "--model", tmp_path / "model"]
    done = subprocess.run([*command, "-o", tmp_path / "onnx"], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    images = torch.rand(3, 3, 3, 32, 32, generator=torch.Generator().manual_seed(5)) * 2 - 1
    source, driving, start = images
    code, own, *features = outputs(tmp_path / "onnx" / ENCODER, source)
    moved = outputs(tmp_path / "onnx" / ENCODER, driving)[1] - outputs(tmp_path / "onnx" / ENCODER, start)[1]
    (image,) = outputs(tmp_path / "onnx" / PAINTER, code, own + moved, *features)
    wanted = generator(source, driving, generator.motion_weights(start))
    np.testing.assert_allclose(image, wanted.numpy(), atol=1e-2)


def test_a_folder_with_other_files_is_left_alone(generator, tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        export_onnx(generator, tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"
