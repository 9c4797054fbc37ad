"""The script that MLflow runs to load a registered version ("models from code"); nothing else imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModelContext

from lia_model.animator import Animator


class AnimatorModel(mlflow.pyfunc.PythonModel):
    """source uint8 [1,H,W,3] and driving uint8 [T,H,W,3] → uint8 [T,S,S,3]."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint that was logged with this version."""
        self.animator = Animator.load(Path(context.artifacts["checkpoint"]))

    def predict(  # noqa: D102 - MLflow's interface
        self,
        context: PythonModelContext,
        model_input: dict[str, np.ndarray],
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        mode = (params or {}).get("mode", "relative")
        return np.stack(
            list(self.animator.animate(model_input["source"][0], model_input["driving"], mode=mode))
        )


mlflow.models.set_model(AnimatorModel())
