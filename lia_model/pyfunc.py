"""Entry point of MLflow's "models from code": MLflow runs this script to load a registered version."""

from __future__ import annotations

from pathlib import Path

import mlflow.models
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from lia_model.animator import Animator


class AnimatorModel(PythonModel):
    """The `Animator` as a pyfunc: source uint8 [1,H,W,3], driving uint8 [T,H,W,3] → uint8 [T,S,S,3].

    It detects no faces: inputs are cropped ones, or whole ones for a model of crop rule `body` or `none`.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint logged with this version."""
        self.animator = Animator.load(Path(context.artifacts["checkpoint"]))

    # Without type hints: MLflow would derive a schema from them that is less exact than the registered one.
    def predict(self, context, model_input, params=None):  # noqa: ANN001, ANN201 # pyright: ignore
        """Animate `model_input["source"]` by `model_input["driving"]` in the mode `params["mode"]`."""
        mode = params["mode"]  # pyright: ignore[reportOptionalSubscript] - the signature has a default
        return np.stack(
            list(self.animator.animate(model_input["source"][0], model_input["driving"], mode=mode))
        )


mlflow.models.set_model(AnimatorModel())
