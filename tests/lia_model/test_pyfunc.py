import mlflow
import numpy as np
import pytest
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModelContext

from lia_model import pyfunc
from lia_model.animator import Animator
from lia_model.checkpoints.directory import save_generator
from lia_model.pyfunc import AnimatorModel


@pytest.fixture
def checkpoint(generator, tmp_path):
    save_generator(tmp_path / "checkpoint", generator, {})
    return tmp_path / "checkpoint"


@pytest.fixture
def frames():
    """A portrait and a driving clip, as a client sends them."""
    rng = np.random.default_rng(0)
    return {
        "source": rng.integers(0, 255, (1, 40, 48, 3), dtype=np.uint8),
        "driving": rng.integers(0, 255, (3, 44, 40, 3), dtype=np.uint8),
    }


def animated(checkpoint, frames, mode):
    animator = Animator.load(checkpoint)
    return np.stack(list(animator.animate(frames["source"][0], frames["driving"], mode)))


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_the_model_predicts_what_the_animator_of_its_checkpoint_animates(checkpoint, frames, mode):
    model = AnimatorModel()
    model.load_context(PythonModelContext({"checkpoint": str(checkpoint)}, {}))
    predicted = model.predict(None, frames, {"mode": mode})
    assert (predicted.shape, predicted.dtype) == ((3, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(predicted, animated(checkpoint, frames, mode))


@pytest.mark.filterwarnings("ignore:.*type hints:UserWarning")
def test_mlflow_loads_the_model_by_running_the_script(checkpoint, frames, tmp_path):
    signature = infer_signature(frames, frames["driving"], {"mode": "relative"})
    mlflow.pyfunc.save_model(
        tmp_path / "saved",
        python_model=pyfunc.__file__,
        artifacts={"checkpoint": str(checkpoint)},
        signature=signature,
        input_example=frames,
        pip_requirements=[],
    )
    model = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    relative, absolute = (animated(checkpoint, frames, mode) for mode in ("relative", "absolute"))
    assert (relative != absolute).any()
    np.testing.assert_array_equal(model.predict(frames), relative)
    np.testing.assert_array_equal(model.predict(frames, {"mode": "absolute"}), absolute)


def test_a_model_of_bodies_sees_the_middle_of_what_it_predicts_from(generator, frames, tmp_path):
    save_generator(tmp_path / "body", generator, {"crop": {"rule": "body", "scale": 1.2, "outside": "pad"}})
    model = AnimatorModel()
    model.load_context(PythonModelContext({"checkpoint": str(tmp_path / "body")}, {}))
    predicted = model.predict(None, frames, {"mode": "absolute"})
    middle = {"source": frames["source"][:, :, 4:44], "driving": frames["driving"][:, 2:42]}
    np.testing.assert_array_equal(predicted, animated(tmp_path / "body", middle, "absolute"))
    save_generator(tmp_path / "face", generator, {})
    assert (predicted != animated(tmp_path / "face", frames, "absolute")).any()
