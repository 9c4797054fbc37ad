"""The metrics of an evaluation: name, unit, direction, meaning, and which protocol uses which.

Scores, summaries, pages and the release gate all read these facts here. How a metric is computed is in
`losses.image_distances` and `faces`, FID and FVD in `set_distances`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MISSING = "—"
"""Shown where a metric has no value."""


@dataclass(frozen=True)
class Metric:
    """What a metric's numbers mean and how they are written."""

    name: str
    """Key in evaluate.json, clips.parquet and MLflow."""
    label: str
    """As papers write it."""
    compares: Literal["pixels", "faces", "sets", "models"]
    """Two images, two faces, the features of two sets of frames, or two models' values of one clip."""
    lower_is_better: bool
    meaning: str
    unit: str = ""
    """Empty for a number without a unit."""
    spec: str = ".3f"
    """Format specification of a value."""

    @property
    def heading(self) -> str:
        """Return the label with its unit and the direction of better values."""
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.label}{unit} {'↓' if self.lower_is_better else '↑'}"

    def text(self, value: float | None) -> str:
        """Return a value as it is shown; a dash for None."""
        return MISSING if value is None else format(value, self.spec)

    def is_better(self, value: float, other: float) -> bool:
        """Return whether `value` is strictly better than `other`."""
        return value < other if self.lower_is_better else value > other


METRICS = {
    metric.name: metric
    for metric in (
        Metric("l1", "L1", "pixels", True, "mean absolute difference of pixels in [0, 1]", spec=".4f"),
        Metric("psnr", "PSNR", "pixels", False, "peak signal-to-noise ratio", "dB", ".2f"),
        Metric("ssim", "SSIM", "pixels", False, "structural similarity, 11 px Gaussian window"),
        Metric("lpips", "LPIPS", "pixels", True, "learned perceptual distance, AlexNet"),
        Metric(
            "akd", "AKD", "faces", True,
            "mean distance of 68 landmarks from the true ones, in pixels of the image", "px", ".2f",
        ),
        Metric(
            "mkr", "MKR", "faces", True,
            "share of the true or driving frames with a face whose result shows no face",
        ),
        Metric(
            "aed", "AED", "faces", True,
            "Euclidean distance between the identity embeddings of result and truth",
        ),
        Metric(
            "csim", "CSIM", "faces", False,
            "cosine similarity of the identity embeddings of result and source; copying the source gives 1",
        ),
        Metric(
            "motion", "Motion", "faces", True,
            "difference between the landmark motion of result and driving face since the first frame, in "
            "distances between the outer corners of the eyes; a face that does not move scores the driving "
            "face's whole motion",
        ),
        Metric("fid", "FID", "sets", True, "Fréchet distance between image features", spec=".2f"),
        Metric("fvd", "FVD", "sets", True, "Fréchet distance between video features", spec=".2f"),
        Metric(
            "improvement", "Saved", "models", False,
            "share of the L1 of copying the source that the model saves", spec="+.1%",
        ),
    )
}  # fmt: skip

PIXEL_METRICS = tuple(metric.name for metric in METRICS.values() if metric.compares == "pixels")
FACE_METRICS = tuple(metric.name for metric in METRICS.values() if metric.compares == "faces")

PROTOCOL_METRICS: dict[str, tuple[str, ...]] = {
    "reconstruction": (*PIXEL_METRICS, "akd", "mkr", "aed"),
    "cross_identity": ("csim", "motion", "mkr"),
}
"""The metrics of each protocol, in the order of evaluate.json."""
