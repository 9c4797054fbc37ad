"""FID and FVD: the Fréchet distance of generated and true images or videos in a given network's features.

The network is a TorchScript file: Inception for FID (Heusel et al. 2017), I3D for FVD (Unterthiner et al.
2018). Its name and hash stand beside every number, since another network gives another number; without a
file there is none.
Axes: B batch, C channels, T frames, S side of the image in pixels, D feature width.
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

from lia_model.evaluation.metrics import Moments, frechet_distance
from lia_model.evaluation.pairs import Skipped

NUM_VIDEO_FRAMES = 16
# What the published files ask for beside the images; a file without such an argument is called without it.
ARGUMENTS = {"return_features": True, "resize": True, "rescale": True}
TRUTH = "truth"
SetMetric = Literal["fid", "fvd"]


class FeatureNetwork:
    """Features of images [B,3,S,S] or videos [B,3,T,S,S], values 0 to 255.

    Raises:
        ValueError: the file is missing or is no TorchScript.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        if not path.is_file():
            raise ValueError(f"{path} does not exist: name a TorchScript file, or set it to null")
        try:
            with warnings.catch_warnings():
                # The published feature networks are TorchScript; torch.export reads none of them.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._module = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise ValueError(
                f"{path} is no TorchScript file ({str(error).splitlines()[0]}): name one, or set it to null"
            ) from None
        self._device = device
        self.name = path.name
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        known = {argument.name for argument in self._module.forward.schema.arguments}
        self._arguments = {name: value for name, value in ARGUMENTS.items() if name in known}

    @torch.inference_mode()
    def __call__(self, batch: UInt8[np.ndarray, "B 3 *dims"]) -> Float[np.ndarray, "B D"]:
        """Return the features of each image or video.

        Raises:
            ValueError: the network does not give one row of numbers for each.
        """
        images = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device).float()
        features = self._module(images, **self._arguments)
        if features.ndim != 2 or len(features) != len(batch):
            raise ValueError(
                f"{self.name} gives features of shape {tuple(features.shape)} for {len(batch)} inputs; one "
                "row each is needed: name a network that pools its features"
            )
        return features.float().cpu().numpy()


class SetDistance:
    """FID or FVD of several models, gathered over clips in bounded memory."""

    def __init__(self, metric: SetMetric, network: FeatureNetwork, batch_size: int) -> None:
        self.metric = metric
        self.network = network
        self._batch_size = batch_size
        self._moments: dict[tuple[str, str], Moments] = {}

    def add(
        self, protocol: str, model: str, numbers: Sequence[int], frames: UInt8[np.ndarray, "T S S 3"]
    ) -> None:
        """Count in the frames of one clip; `numbers` are their places in it, `model` may be TRUTH."""
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
        """Return a record for each protocol and model, and what could not be computed.

        Every model is compared with the true frames of the reconstruction.
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
    """Return where runs of 16 consecutive frames begin, none overlapping; a thinned clip may hold none."""
    starts, start = [], 0
    while start + NUM_VIDEO_FRAMES <= len(numbers):
        if numbers[start + NUM_VIDEO_FRAMES - 1] - numbers[start] == NUM_VIDEO_FRAMES - 1:
            starts.append(start)
            start += NUM_VIDEO_FRAMES
        else:
            start += 1
    return starts
