"""The `loader_module` of a registered version: how MLflow makes a model of a checkpoint directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lia_model.animator import Animator
from lia_model.settings import Mode

Frames = UInt8[np.ndarray, "_ _ _ 3"]
"""RGB frames of one size, stacked."""


@dataclass(frozen=True)
class AnimatorModel:
    """The `Animator` as MLflow calls it, with inputs that fit the registered signature.

    It detects no faces: inputs are cropped ones, or whole ones for a model of crop rule `body` or `none`.
    """

    animator: Animator

    def predict(self, model_input: dict[str, Frames], params: dict[str, Mode] | None = None) -> Frames:
        """Animate a source by driving frames and return a frame of the model's size for each.

        Args:
            model_input: `source`, of one frame, and `driving`.
            params: `mode`, relative or absolute; None is relative.
        """
        mode: Mode = (params or {}).get("mode", "relative")
        source, driving = model_input["source"], model_input["driving"]
        return np.stack(list(self.animator.animate(source[0], driving, mode=mode)))


def _load_pyfunc(data_path: str) -> AnimatorModel:
    """Load the checkpoint of a version; MLflow asks for this name."""
    return AnimatorModel(Animator.load(Path(data_path)))
