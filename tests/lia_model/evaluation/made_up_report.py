"""An evaluation without models: its report, its rows and its pictures, as the stage would write them."""

from pathlib import Path

import numpy as np
from PIL import Image

from lia_model.evaluation.metric_table import PROTOCOL_METRICS
from lia_model.evaluation.page_pictures import picture_name

L1 = {"a": 0.01, "b": 0.02, "c": 0.03}


def make_row(clip: str, model: str, protocol: str, **values: float | None) -> dict:
    metrics = {name: values.get(name) for names in PROTOCOL_METRICS.values() for name in names}
    return {
        "protocol": protocol,
        "model": model,
        "mode": "absolute" if protocol == "reconstruction" else "relative",
        "clip": f"{clip}-whole",
        "url": f"http://host/{clip}.mp4",
        "by_time": clip == "a",
        "source_clip": f"{clip}-whole" if protocol == "reconstruction" else "z-whole",
        "source_url": "http://host/z.mp4",
        "source_frame": 0,
        "num_frames": 4,
        "num_face_frames": 2,
        **metrics,
    }


def make_rows() -> list[dict]:
    """Return a row for each pair and model: three clips, reconstructed by three models, animated by ours."""
    made = []
    for clip, l1 in L1.items():
        made += [
            make_row(clip, model, "reconstruction", l1=l1 * factor, psnr=30.0, ssim=0.9, lpips=0.1, akd=akd)
            for model, factor, akd in (("model", 1, 1.5), ("copy_source", 2, None), ("<other>", 1.5, 2.0))
        ]
        made.append(make_row(clip, "model", "cross_identity", csim=0.8, motion=l1, mkr=0.25))
    return made


def make_report() -> dict:
    """Return the content of evaluate.json for `make_rows`."""

    def entry(model, metric, mean):
        protocol = "cross_identity" if metric in ("csim", "motion") else "reconstruction"
        return {
            "model": model,
            "protocol": protocol,
            "metric": metric,
            "mean": mean,
            "low": 0.9 * mean,
            "high": 1.1 * mean,
            "num_clips": 3,
        }

    models = ("model", "copy_source", "<other>")
    return {
        "identity_disjoint": False,
        "identity_disjoint_reason": "1 clips are of videos that were split by time",
        "num_clips": 3,
        "num_unknown_identities": 2,
        "frozen": [
            {"file": "evaluation_list.json", "sha256": "fedcba" * 8},
            {"file": "manifest.json", "sha256": "1234567890abcdef" * 4},
        ],
        "summary": [
            *(entry(model, name, 0.1) for model in models for name in ("l1", "lpips", "psnr", "ssim")),
            entry("model", "akd", 1.234),
            entry("model", "csim", 0.8),
            entry("model", "motion", 0.02),
        ],
        "set_distances": [
            {
                "metric": "fid",
                "protocol": "reconstruction",
                "model": "model",
                "value": 12.345,
                "num_samples": 12,
                "num_features": 3,
                "features_file": "inception.pt",
                "features_sha256": "ab" * 32,
            }
        ],
        "measured_by": [
            {"measures": ["akd", "motion"], "model": "dlib 68"},
            {"measures": ["aed", "csim"], "model": "dlib 128-d"},
        ],
        "models": [
            {"name": "model", "version": None, "weights_sha256": "aa" * 32},
            {"name": "copy_source", "version": None, "weights_sha256": None},
            {"name": "<other>", "version": "7", "weights_sha256": "bb" * 32},
        ],
        "skipped": [{"what": "fvd", "reason": "no <network>"}, {"what": "aed", "reason": "no face"}],
        "clips": [
            {"clip": f"{clip}-whole", "improvement": value}
            for clip, value in zip(L1, (0.5, 0.1, 0.3), strict=True)
        ],
        "frames": {f"{clip}-whole": [0, 1, 2, 3] for clip in L1},
    }


def save_pictures(rows: list[dict], folder: Path) -> None:
    """Save a small grey picture for each pair."""
    for each in rows:
        Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(folder / picture_name(each))
