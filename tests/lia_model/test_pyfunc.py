import asyncio
import warnings

import httpx
import mlflow
import numpy as np
import pytest
from mlflow import MlflowException
from mlflow.pyfunc import scoring_server

from lia_model.animator import Animator
from lia_model.checkpoints.directory import save_generator
from lia_model.pyfunc import _load_pyfunc
from lia_model.registry.models import _input_example, _signature


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
    predicted = _load_pyfunc(str(checkpoint)).predict(frames, {"mode": mode})
    assert (predicted.shape, predicted.dtype) == ((3, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(predicted, animated(checkpoint, frames, mode))


@pytest.fixture
def saved(checkpoint, frames, tmp_path):
    """A model saved as a version is, without a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mlflow.pyfunc.save_model(
            tmp_path / "saved",
            loader_module="lia_model.pyfunc",
            data_path=str(checkpoint),
            signature=_signature(),
            input_example=_input_example(),
            pip_requirements=[],
        )
    assert [str(warning.message) for warning in caught if "hint" in str(warning.message)] == []
    return mlflow.pyfunc.load_model(str(tmp_path / "saved"))


def test_mlflow_loads_the_model_and_checks_its_input(saved, checkpoint, frames):
    relative, absolute = (animated(checkpoint, frames, mode) for mode in ("relative", "absolute"))
    assert (relative != absolute).any()
    np.testing.assert_array_equal(saved.predict(frames), relative)
    np.testing.assert_array_equal(saved.predict(frames, {"mode": "absolute"}), absolute)
    with pytest.raises(MlflowException, match="dtype of input float32"):
        saved.predict(frames | {"source": frames["source"].astype(np.float32)})
    with pytest.raises(MlflowException, match="hape of input"):
        saved.predict(frames | {"source": frames["source"].repeat(2, 0)})


def test_the_server_of_mlflow_takes_frames_as_json(saved, checkpoint, frames):
    def post(content):
        async def ask():
            transport = httpx.ASGITransport(scoring_server.init(saved))
            async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
                return await client.post("/invocations", json=content)

        return asyncio.run(ask())

    inputs = {name: pixels.tolist() for name, pixels in frames.items()}
    answer = post({"inputs": inputs, "params": {"mode": "absolute"}})
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(answer.json()["predictions"], animated(checkpoint, frames, "absolute"))
    del inputs["driving"]
    refused = post({"inputs": inputs})
    assert refused.status_code == 400
    assert "driving" in refused.text


def test_a_model_of_bodies_sees_the_middle_of_what_it_predicts_from(generator, frames, tmp_path):
    save_generator(tmp_path / "body", generator, {"crop": {"rule": "body", "scale": 1.2, "outside": "pad"}})
    predicted = _load_pyfunc(str(tmp_path / "body")).predict(frames, {"mode": "absolute"})
    middle = {"source": frames["source"][:, :, 4:44], "driving": frames["driving"][:, 2:42]}
    np.testing.assert_array_equal(predicted, animated(tmp_path / "body", middle, "absolute"))
    save_generator(tmp_path / "face", generator, {})
    assert (predicted != animated(tmp_path / "face", frames, "absolute")).any()
