import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from preprocessing.faces.free_size import read_with_free_size


@pytest.fixture(scope="module")
def path(models):
    return models / "scrfd" / "scrfd.onnx"


def outputs(model, image):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


def test_a_freed_graph_computes_the_same_at_its_former_size(path):
    image = np.random.default_rng(0).standard_normal((1, 3, 640, 640), np.float32)
    freed = outputs(read_with_free_size(path).SerializeToString(), image)
    for one, other in zip(outputs(path, image), freed, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(416, 640), (640, 32), (64, 96)])
def test_a_freed_graph_takes_any_multiple_of_its_stride(path, height, width):
    image = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    found = outputs(read_with_free_size(path).SerializeToString(), image)
    positions = [2 * height * width // stride**2 for stride in (8, 16, 32)]
    assert [one.shape[1:] for one in found] == [(n, k) for k in (1, 4, 10) for n in positions]


def test_a_picture_made_of_two_gives_what_each_gives_far_from_the_seam(path):
    """What the network finds does not depend on the size, but for what lies near the edges."""
    left = np.random.default_rng(0).standard_normal((1, 3, 320, 320), np.float32)
    both = np.concatenate([left, left], axis=3)
    model = read_with_free_size(path).SerializeToString()
    alone, beside = (outputs(model, image)[0][0].reshape(40, -1, 2) for image in (left, both))
    assert np.abs(alone[:, :8] - beside[:, :8]).max() < 0.05


def test_a_graph_that_reshapes_to_a_fixed_size_is_left_alone(path, tmp_path):
    model = onnx.load(path)
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 12800, 1]), "fixed"))
    reshape.input[1] = "fixed"
    onnx.save(model, tmp_path / "fixed.onnx")
    assert read_with_free_size(tmp_path / "fixed.onnx") == onnx.load(tmp_path / "fixed.onnx")
