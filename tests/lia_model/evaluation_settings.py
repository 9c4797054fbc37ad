"""Settings of an evaluation small enough for a test."""

from pathlib import Path
from typing import Any

from lia_model.settings import EvaluateSettings


def evaluation_settings(models: Path, **changes: Any) -> EvaluateSettings:
    """Return settings for four frames a clip; `changes` replace values, `faces` and such as mappings."""
    values: dict[str, Any] = {
        "seed": 0,
        "batch_size": 4,
        "max_num_frames_per_clip": 4,
        "lpips": models / "lpips_alex.safetensors",
        "device": "cpu",
        "precision": "fp32",
        "baselines": (),
        "cross_identity": {"num_sources_per_clip": 1, "mode": "relative"},
        "faces": {
            "detector": models / "scrfd",
            "models": models / "dlib",
            "min_score": 0.5,
            "max_num_frames_per_clip": 2,
        },
        "num_resamples": 100,
        "fid_features": None,
        "fvd_features": None,
    }
    return EvaluateSettings.model_validate(values | changes)
