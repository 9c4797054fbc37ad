"""Validation inside a run: the averaged weights on fixed held-out pairs, in numbers and pictures.

L1 (images in [0, 1]) and LPIPS are means over clips of means over frames, as in the evaluation, and over the
clips by which the release gate judges; values of the other clips are named `other_people_…`. L1 is also given
by how far the head is turned between source and driving frame, since small motions outnumber others.
Axes: T frames, B batch, S side of the image in pixels, K directions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from lia_model.checkpoints.best import Validated
from lia_model.data.pair_reader import PairFrames, PairReader
from lia_model.data.pixels import to_bytes, to_float
from lia_model.device.precision import float32_products
from lia_model.losses.image_distances import Lpips, l1
from lia_model.networks.generator import Generator
from lia_model.settings import TrainSettings
from lia_model.training.validation.pairs import (
    choose_validation_pairs,
    has_held_out_clips,
    list_sha256,
    other_person,
)
from preprocessing.strips import grid

PREFIX = "validation"
OTHER_PEOPLE = "other_people_"
TURNS_DEG = (0.0, 15.0, 30.0)
"""Lower ends of the ranges of turns for which L1 is reported."""
BATCH_SIZE = 16
NUM_COLUMNS = 8
MAX_CELL_PX = 96
REACH = 3.0
NUM_STEPS = 5
"""Columns of the direction sheet, from -REACH to +REACH."""

Picture = UInt8[np.ndarray, "H W 3"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """What one validation found."""

    metrics: dict[str, float]
    """By name, with the seconds it took."""
    pictures: dict[str, Picture]
    record: Validated


def is_possible(settings: TrainSettings, shards: Path) -> bool:
    """Return whether runs with these settings are validated; if they should be and cannot, say so."""
    if not settings.validate_every_steps:
        return False
    if has_held_out_clips(shards):
        return True
    log.warning(
        "%s holds no test clips, so nothing is validated and the last weights are released: hold out people, "
        "or set train.validate_every_steps to 0",
        shards,
    )
    return False


class Validator:
    """Validates generators on the held-out clips of a folder of shards.

    Raises:
        ValueError: the shards hold no held-out clips.
    """

    def __init__(self, shards: Path, settings: TrainSettings, device: torch.device) -> None:
        self._reader = PairReader(shards)
        self._pairs = choose_validation_pairs(self._reader, settings.validation)
        self._metric = settings.validation.metric
        self._device = device
        self._lpips = _open_lpips(settings.validation.lpips, device)
        if self._lpips is None and self._metric == "lpips":
            raise ValueError(
                "train.validation.metric is lpips, whose weights are missing: run `lia fetch models`, or "
                "choose l1"
            )

    @property
    def source_keys(self) -> list[str]:
        """Return the keys of the videos that the pictures may show."""
        clips = {clip.key: clip for clip in self._reader.held_out.clips}
        return sorted({clips[each.pair.driving].source_key for each in self._pairs})

    @property
    def scores(self) -> list[str]:
        """Return the names of the metrics that compare generators; smaller is better."""
        distances = ["l1"] if self._lpips is None else ["l1", "lpips"]
        prefixes = {"" if each.is_deciding else OTHER_PEOPLE for each in self._pairs}
        turns = {
            turn_name(float(t)) for each in self._pairs if each.turn_deg is not None for t in each.turn_deg
        }
        names = [f"{prefix}{name}" for prefix in prefixes for name in distances]
        return sorted(f"{PREFIX}/{name}" for name in (*names, *turns))

    @torch.inference_mode()
    @float32_products("fp32")
    def validate(self, generator: Generator, step: int) -> Validation:
        """Measure and show a generator, whose weights have seen `step` updates."""
        started_s = time.perf_counter()
        was_training = generator.training
        generator.eval()
        metrics = self._measure(generator)
        pictures = self._pictures(generator)
        generator.train(was_training)
        metrics["seconds"] = time.perf_counter() - started_s
        record = Validated(step, self._metric, metrics[self._metric], list_sha256(self._pairs))
        return Validation(
            {f"{PREFIX}/{name}": value for name, value in metrics.items()},
            {f"{PREFIX}_{name}": picture for name, picture in pictures.items()},
            record,
        )

    def _measure(self, generator: Generator) -> dict[str, float]:
        clips: dict[str, list[float]] = {}
        turned: dict[str, list[float]] = {}
        for each in self._pairs:
            found: dict[str, list[float]] = {}
            for source, driving in self._batches(self._reader.read(each.pair)):
                result = generator(source, driving).clamp(-1, 1)
                for name, values in self._distances(result, source, driving).items():
                    found.setdefault(name, []).extend(values.tolist())
            for name, values in found.items():
                prefix = "" if each.is_deciding else OTHER_PEOPLE
                clips.setdefault(f"{prefix}{name}", []).append(float(np.mean(values)))
            if each.turn_deg is not None:
                for turn, value in zip(each.turn_deg, found["l1"], strict=True):
                    turned.setdefault(turn_name(float(turn)), []).append(value)
        return {name: float(np.mean(values)) for name, values in (clips | turned).items()}

    def _distances(
        self,
        result: Float[Tensor, "B 3 S S"],
        source: Float[Tensor, "B 3 S S"],
        truth: Float[Tensor, "B 3 S S"],
    ) -> dict[str, Float[Tensor, " B"]]:
        # Half the difference, for images in [0, 1].
        distances = {"l1": l1(result, truth) / 2, "l1_of_copying": l1(source, truth) / 2}
        if self._lpips is not None:
            distances["lpips"] = self._lpips(result, truth)
            distances["lpips_of_copying"] = self._lpips(source, truth)
        return distances

    def _batches(
        self, item: PairFrames
    ) -> Iterator[tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 3 S S"]]]:
        source = to_float(item.source[None]).to(self._device)
        for start in range(0, len(item.frames), BATCH_SIZE):
            driving = to_float(item.frames[start : start + BATCH_SIZE]).to(self._device)
            yield source.expand_as(driving), driving

    def _pictures(self, generator: Generator) -> dict[str, Picture]:
        shown = range(min(NUM_COLUMNS, len(self._pairs)))
        same = [self._same_person(generator, number) for number in shown]
        other = [column for number in shown if (column := self._other_person(generator, number)) is not None]
        columns = {"same_person": same, "other_person": other}
        pictures = {name: grid(zip(*found, strict=True)) for name, found in columns.items() if found}
        return pictures | {"directions": self._directions(generator)}

    def _same_person(self, generator: Generator, number: int) -> tuple[Picture, ...]:
        """Return source, driving frame and result for the frame that is turned farthest."""
        each = self._pairs[number]
        item = self._reader.read(each.pair)
        source, driving = (
            to_float(image[None]).to(self._device) for image in (item.source, item.frames[each.farthest])
        )
        return _column(source, driving, generator(source, driving))

    def _other_person(self, generator: Generator, number: int) -> tuple[Picture, ...] | None:
        """Return the same for another person's source and relative motion; None without another person."""
        each = self._pairs[number]
        clips = {clip.key: clip for clip in self._reader.held_out.clips}
        other = other_person(self._pairs, clips, number)
        if other is None:
            return None
        item, portrait = self._reader.read(each.pair), self._reader.read(other).source
        source, start, driving = (
            to_float(image[None]).to(self._device)
            for image in (portrait, item.source, item.frames[each.farthest])
        )
        result = generator(source, driving, start_weights=generator.motion_weights(start))
        return _column(source, driving, result)

    def _directions(self, generator: Generator) -> Picture:
        """Return a row for each direction: the first source moved along it from -REACH to +REACH."""
        source = to_float(self._reader.read(self._pairs[0].pair).source[None]).to(self._device)
        code, features = generator.encoder(source)
        own = generator.motion_head(code)
        rows = []
        for direction in torch.eye(own.shape[1], device=self._device):
            deltas = torch.linspace(-REACH, REACH, NUM_STEPS, device=self._device)[:, None]
            weights = own + deltas * direction
            moved = generator.move(code.expand(NUM_STEPS, -1), weights)
            images = generator.synthesis(moved, [each.expand(NUM_STEPS, -1, -1, -1) for each in features])
            rows.append(list(to_bytes(_at_most(images, MAX_CELL_PX))))
        return grid(rows)


def save_picture(picture: Picture, path: Path) -> None:
    """Write a picture as PNG, in place of an older one."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def turn_name(turn_deg: float) -> str:
    """Return the name of the L1 over frames that are turned as far as `turn_deg`."""
    number = max(place for place, low in enumerate(TURNS_DEG) if turn_deg >= low)
    if number == len(TURNS_DEG) - 1:
        return f"l1_turned_over_{TURNS_DEG[-1]:g}_deg"
    return f"l1_turned_{TURNS_DEG[number]:g}_to_{TURNS_DEG[number + 1]:g}_deg"


def _open_lpips(weights: Path, device: torch.device) -> Lpips | None:
    try:
        return Lpips(weights).eval().to(device)
    except ValueError as error:
        log.warning("validation measures no LPIPS: %s", error)
        return None


def _column(*images: Float[Tensor, "1 3 S S"]) -> tuple[Picture, ...]:
    return tuple(to_bytes(image)[0] for image in images)


def _at_most(images: Float[Tensor, "B 3 S S"], side_px: int) -> Float[Tensor, "B 3 _ _"]:
    if images.shape[-1] <= side_px:
        return images
    return functional.interpolate(images, (side_px, side_px), mode="area")
