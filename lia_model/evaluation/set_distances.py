"""FID and FVD: distances between the sets of generated and of true frames, in the features of a network.

The network is a TorchScript file: Inception for FID (Heusel et al. 2017), I3D for FVD (Unterthiner et al.
2018). The result includes its name and hash, since another network gives another number.
Axes: B batch, N samples, C channels, T frames, S side of the image in pixels, D feature width.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8

from lia_model.data.pair_list import Skipped
from lia_model.device.precision import float32_products

NUM_VIDEO_FRAMES = 16
# Arguments of the published files beside the images; each is passed if the file has it.
ARGUMENTS = {"return_features": True, "resize": True, "rescale": True}
TRUTH = "truth"
SetMetric = Literal["fid", "fvd"]


class FeatureNetwork:
    """Features of images [B,3,S,S] or videos [B,3,T,S,S], values 0 to 255.

    Raises:
        ValueError: the file is missing or is not TorchScript.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        if not path.is_file():
            raise ValueError(f"{path} does not exist: name a TorchScript file, or set it to null")
        try:
            with warnings.catch_warnings():
                # torch.jit is deprecated, but the published feature networks exist as TorchScript only.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._module = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise ValueError(
                f"{path} is not a TorchScript file ({str(error).splitlines()[0]}): name one, or set it to "
                "null"
            ) from None
        self._device = device
        self.name = path.name
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        known = {argument.name for argument in self._module.forward.schema.arguments}
        self._arguments = {name: value for name, value in ARGUMENTS.items() if name in known}

    @torch.inference_mode()
    @float32_products("fp32")
    def __call__(self, batch: UInt8[np.ndarray, "B 3 *dims"]) -> Float[np.ndarray, "B D"]:
        """Return the features of each image or video.

        Raises:
            ValueError: the network does not return one row of numbers for each.
        """
        images = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device).float()
        features = self._module(images, **self._arguments)
        if features.ndim != 2 or len(features) != len(batch):
            raise ValueError(
                f"{self.name} returns features of shape {tuple(features.shape)} for {len(batch)} inputs; one "
                "row per input is needed: name a network that pools its features"
            )
        return features.float().cpu().numpy()


class SetDistance:
    """FID or FVD of several models, accumulated over clips in bounded memory."""

    def __init__(self, metric: SetMetric, network: FeatureNetwork, batch_size: int) -> None:
        self.metric = metric
        self.network = network
        self._batch_size = batch_size
        self._moments: dict[tuple[str, str], Moments] = {}

    def add(
        self, protocol: str, model: str, numbers: Sequence[int], frames: UInt8[np.ndarray, "T S S 3"]
    ) -> None:
        """Add frames of one clip; `numbers` are their numbers within it, `model` may be TRUTH."""
        moments = self._moments.setdefault((protocol, model), Moments())
        for batch in self._batches(numbers, frames):
            moments.add(self.network(batch))

    def _batches(
        self, numbers: Sequence[int], frames: UInt8[np.ndarray, "T S S 3"]
    ) -> Iterator[UInt8[np.ndarray, "B 3 *dims"]]:
        if self.metric == "fid":
            for start in range(0, len(frames), self._batch_size):
                yield frames[start : start + self._batch_size].transpose(0, 3, 1, 2)
        else:
            for start in video_starts(numbers):
                yield frames[None, start : start + NUM_VIDEO_FRAMES].transpose(0, 4, 1, 2, 3)

    def results(self) -> tuple[list[dict[str, Any]], list[Skipped]]:
        """Return a record per protocol and model, and what could not be computed.

        Every model is compared with the true frames of the reconstruction pairs.
        """
        records, skipped = [], []
        for (protocol, model), moments in self._moments.items():
            if model == TRUTH:
                continue
            try:
                truth = self._moments["reconstruction", TRUTH].mean_and_covariance()
                value = frechet_distance(moments.mean_and_covariance(), truth)
            except ValueError as error:
                skipped.append(Skipped(what=f"{self.metric} of {model}, {protocol}", reason=str(error)))
                continue
            records.append(
                {
                    "metric": self.metric,
                    "protocol": protocol,
                    "model": model,
                    "value": value,
                    "num_samples": moments.num_samples,
                    "num_features": len(truth[0]),
                    "features_file": self.network.name,
                    "features_sha256": self.network.sha256,
                }
            )
        return records, skipped


def video_starts(numbers: Sequence[int]) -> list[int]:
    """Return the starts of disjoint runs of 16 consecutive frames; a sampled clip may hold none."""
    starts, start = [], 0
    while start + NUM_VIDEO_FRAMES <= len(numbers):
        if numbers[start + NUM_VIDEO_FRAMES - 1] - numbers[start] == NUM_VIDEO_FRAMES - 1:
            starts.append(start)
            start += NUM_VIDEO_FRAMES
        else:
            start += 1
    return starts


class Moments:
    """Mean and covariance of features, accumulated over batches in float64."""

    def __init__(self) -> None:
        self.num_samples = 0
        self._sum: np.ndarray | None = None
        self._products: np.ndarray | None = None

    def add(self, features: Float[np.ndarray, "N D"]) -> None:
        """Add a batch of rows."""
        features = features.astype(np.float64)
        self.num_samples += len(features)
        added = (features.sum(axis=0), features.T @ features)
        if self._sum is None or self._products is None:
            self._sum, self._products = added
        else:
            self._sum, self._products = self._sum + added[0], self._products + added[1]

    def mean_and_covariance(self) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D D"]]:
        """Return the mean and the unbiased covariance.

        Raises:
            ValueError: fewer than two samples were added.
        """
        if self._sum is None or self._products is None or self.num_samples < 2:
            raise ValueError(
                f"got {self.num_samples} samples; a covariance needs at least 2: compare more frames or clips"
            )
        mean = self._sum / self.num_samples
        covariance = (self._products - self.num_samples * np.outer(mean, mean)) / (self.num_samples - 1)
        return mean, covariance


def frechet_distance(
    a: tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D D"]],
    b: tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D D"]],
) -> float:
    """Return the squared Fréchet distance of two normal distributions, each (mean, covariance).

    |m - m'|² + tr(S + S' - 2 (S S')^½), Dowson and Landau 1982. The trace of the root is computed from the
    symmetric S^½ S' S^½, which has the same eigenvalues as S S'.
    """
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    # Rounding can make eigenvalues of a semi-definite matrix slightly negative.
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * trace_of_root
    return float(max(distance, 0.0))
