"""Scores of models on a list of pairs, beside the baseline of copying the source frame.

Reconstructions are compared with the true frames: L1, PSNR, SSIM and LPIPS on every frame of the list, AKD,
MKR and AED on its face frames. Cross-identity results have no true frames: CSIM compares them with the
source, motion with the driving frames.
Axes: T frames, S side of the image in pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lia_model.animator import Animator
from lia_model.checkpoints.directory import GENERATOR
from lia_model.data.pair_list import Pair, PairList, Skipped
from lia_model.data.pair_reader import PairFrames, PairReader
from lia_model.data.pixels import to_float
from lia_model.data.sharded_clips import ShardedClip
from lia_model.device.precision import float32_products
from lia_model.device.selection import resolve_device
from lia_model.evaluation.faces import FaceMeter
from lia_model.evaluation.metric_table import FACE_METRICS, PIXEL_METRICS
from lia_model.evaluation.set_distances import TRUTH, FeatureNetwork, SetDistance, SetMetric
from lia_model.losses import image_distances
from lia_model.losses.image_distances import Lpips
from lia_model.registry import models
from lia_model.settings import EvaluateSettings
from preprocessing.clips.crop import shows_faces
from preprocessing.shards.manifest import CropFacts
from preprocessing.storage.files import file_sha256

logger = logging.getLogger(__name__)

MODEL = "model"
COPY_SOURCE = "copy_source"

Frames = UInt8[np.ndarray, "T S S 3"]


@dataclass(frozen=True)
class EvaluatedModel:
    """A model under evaluation, or the baseline that copies the source frame."""

    name: str
    animator: Animator | None
    """None for the baseline."""
    weights_sha256: str | None = None
    version: str | None = None
    """Registered version; None for a checkpoint directory."""

    @classmethod
    def load(cls, name: str, uri: str | Path, settings: EvaluateSettings) -> EvaluatedModel:
        """Load a checkpoint directory or registered model.

        Raises:
            ValueError: the URI names neither.
        """
        found = models.resolve(uri)
        animator = Animator.load(found.directory, settings.device, settings.precision)
        sha256 = file_sha256(found.directory / GENERATOR)
        return cls(name, animator, sha256, found.version)

    def animate(self, item: PairFrames, batch_size: int) -> Frames:
        """Return a generated frame for each driving frame."""
        if self.animator is None:
            return np.broadcast_to(item.source, item.frames.shape)
        frames = self.animator.animate(item.source, item.frames, mode=item.pair.mode, batch_size=batch_size)
        return np.stack(list(frames))


@dataclass(frozen=True)
class Score:
    """The metrics of one model on one pair, as means over frames."""

    pair: Pair
    model: str
    driving: ShardedClip
    source: ShardedClip
    values: Mapping[str, float | None]

    def as_row(self) -> dict[str, Any]:
        """Return a row of the table of clips; a metric of the other protocol is None."""
        return {
            "protocol": self.pair.protocol,
            "model": self.model,
            "mode": self.pair.mode,
            "clip": self.driving.key,
            "url": self.driving.url,
            "by_time": self.driving.by_time,
            "source_clip": self.source.key,
            "source_url": self.source.url,
            "source_frame": self.pair.source.frame,
            "num_frames": len(self.pair.frames),
            "num_face_frames": len(self.pair.face_frames),
            **{name: self.values.get(name) for name in (*PIXEL_METRICS, *FACE_METRICS)},
        }


@dataclass
class Instruments:
    """The networks and accumulators that metrics are computed with."""

    lpips: Lpips | None
    """None if its weights are missing, which only the champion's gate allows."""
    faces: FaceMeter | None
    """None if its models are missing."""
    sets: list[SetDistance]
    device: torch.device
    skipped: list[Skipped] = field(default_factory=list)
    """Metrics that cannot be computed."""

    @classmethod
    def open(cls, settings: EvaluateSettings) -> Instruments:
        """Load the networks of all metrics.

        Raises:
            ValueError: the weights of LPIPS are missing, or a file for FID or FVD cannot be used.
        """
        device = resolve_device(settings.device)
        instruments = cls(Lpips(settings.lpips).eval().to(device), None, [], device)
        instruments._open_faces(settings)
        files: dict[SetMetric, Path | None] = {"fid": settings.fid_features, "fvd": settings.fvd_features}
        for metric, path in files.items():
            if path is None:
                reason = f"evaluate.{metric}_features names no feature network"
                instruments.skipped.append(Skipped(what=metric, reason=reason))
            else:
                network = FeatureNetwork(path, device)
                instruments.sets.append(SetDistance(metric, network, settings.batch_size))
        return instruments

    @classmethod
    def open_for_gate(cls, settings: EvaluateSettings) -> Instruments:
        """Load the networks for what the champion's gate compares, as far as their files exist."""
        device = resolve_device(settings.device)
        instruments = cls(None, None, [], device)
        try:
            instruments.lpips = Lpips(settings.lpips).eval().to(device)
        except ValueError as error:
            instruments._leave_out(["lpips"], error)
        instruments._open_faces(settings)
        return instruments

    def _open_faces(self, settings: EvaluateSettings) -> None:
        try:
            self.faces = FaceMeter(settings.faces)
        except ValueError as error:
            self._leave_out(FACE_METRICS, error)

    def _leave_out(self, names: Sequence[str], error: ValueError) -> None:
        # Logged once, and part of the result; the other metrics can be computed.
        logger.warning("not computed: %s: %s", ", ".join(names), error)
        self.skipped += [Skipped(what=name, reason=str(error)) for name in names]

    def measure(self, item: PairFrames, result: Frames, batch_size: int) -> dict[str, float | None]:
        """Return the means of every metric of the pair's protocol."""
        places = item.face_positions
        if item.pair.protocol == "cross_identity":
            if self.faces is None:
                return {}
            return self.faces.compare_with_source(
                list(result[places]), list(item.frames[places]), item.source
            )
        values: dict[str, float | None] = dict(self.compare(result, item.frames, batch_size))
        if self.faces is not None:
            values |= self.faces.compare_with_truth(list(result[places]), list(item.frames[places]))
        return values

    @torch.inference_mode()
    @float32_products("fp32")
    def compare(self, result: Frames, truth: Frames, batch_size: int) -> dict[str, float]:
        """Return the means of the pixel metrics over the frames."""
        values: dict[str, list[Float[Tensor, " B"]]] = {name: [] for name in PIXEL_METRICS}
        for start in range(0, len(truth), batch_size):
            a, b = (
                to_float(frames[start : start + batch_size]).to(self.device) for frames in (result, truth)
            )
            if self.lpips is not None:
                values["lpips"].append(self.lpips(a, b))
            a, b = (a + 1) / 2, (b + 1) / 2
            for name in ("l1", "psnr", "ssim"):
                values[name].append(getattr(image_distances, name)(a, b))
        return {name: float(torch.cat(parts).mean()) for name, parts in values.items() if parts}

    def add_to_sets(self, item: PairFrames, results: Mapping[str, Frames]) -> None:
        """Add frames to FID and FVD; the true ones are those of the reconstruction pairs."""
        protocol, numbers = item.pair.protocol, item.pair.frames
        for distance in self.sets:
            if protocol == "reconstruction":
                distance.add(protocol, TRUTH, numbers, item.frames)
            for name, frames in results.items():
                distance.add(protocol, name, numbers, frames)


OnPair = Callable[[PairFrames, Mapping[str, Frames], Sequence[Score]], None]


def evaluate(
    evaluated: Sequence[EvaluatedModel],
    reader: PairReader,
    pairs: PairList,
    instruments: Instruments,
    batch_size: int,
    on_pair: OnPair = lambda *_: None,
) -> list[Score]:
    """Animate every pair with every model, and score the results.

    Args:
        evaluated: the models.
        reader: reads from the shards that hold the pairs.
        pairs: what is animated.
        instruments: compute the metrics; FID and FVD accumulate in them.
        batch_size: frames per forward pass.
        on_pair: receives each pair's frames, its results by model, and their scores.

    Raises:
        ValueError: a model's images have another size than the pairs'.
    """
    for model in evaluated:
        if model.animator is not None:
            require_size(model.animator, pairs.size_px, model.name)
            warn_of_other_crop(model.animator, reader.held_out.crop, model.name)
    scores: list[Score] = []
    for pair in pairs.pairs:
        item = reader.read(pair)
        results = {model.name: model.animate(item, batch_size) for model in evaluated}
        new = [
            Score(pair, name, item.driving, item.source_clip, instruments.measure(item, frames, batch_size))
            for name, frames in results.items()
        ]
        instruments.add_to_sets(item, results)
        on_pair(item, results, new)
        scores += new
    return scores


def require_size(animator: Animator, size_px: int, name: str) -> None:
    """Check that a model's images have the size of the shards' images.

    Raises:
        ValueError: they have another.
    """
    if animator.size_px != size_px:
        raise ValueError(
            f"{name} makes {animator.size_px} px images, the shards hold {size_px} px: "
            "train on these shards, or evaluate on those it was trained on"
        )


def warn_of_other_crop(animator: Animator, crop: CropFacts, name: str) -> None:
    """Log that a model was trained on clips cropped otherwise than those it is measured on."""
    own = animator.crop
    if (own.rule, own.scale) == (crop.rule, crop.scale):
        return
    if own.rule == crop.rule and not shows_faces(crop.rule):
        # Only faces are cropped with a scale.
        return
    logger.warning(
        "%s was trained on clips cropped by %s, scale %g, but these shards hold %s, scale %g: measure it on "
        "shards like its own",
        name,
        own.rule,
        own.scale,
        crop.rule,
        crop.scale,
    )
