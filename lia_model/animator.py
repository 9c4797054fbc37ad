"""Animates a portrait with a loaded generator, frame by frame.

Two streaming stages, driving frames to motion weights, then source and motion weights to frames. Both work in
batches, so that memory does not grow with the length of the clip. A GPU gets the next batch before the host
waits for the frames of this one.
Axes: B batch, N sources (1 or B), K directions, H W pixels, S side of the network's images.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, wraps
from itertools import islice
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from torch.nn import functional

from lia_model.checkpoints.crop_record import UNRECORDED, read_crop
from lia_model.checkpoints.directory import load_generator
from lia_model.data.pixels import middle_of, to_float
from lia_model.device.compilation import accelerator, require_compilation
from lia_model.device.host_copies import Finish, copies_from, in_turn, num_ahead
from lia_model.device.pinned_ring import copies_to
from lia_model.device.precision import DTYPES, ResolvedPrecision, float32_products, resolve_precision
from lia_model.device.selection import resolve_device
from lia_model.inference import InferenceModel
from lia_model.networks.generator import Generator
from lia_model.networks.relative_motion import add_to_source, is_relative, split_first
from lia_model.registry import models
from lia_model.settings import Compilation, Mode, Precision
from preprocessing.clips.crop import shows_faces
from preprocessing.shards.manifest import CropFacts

# Larger batches only cost memory on a CPU.
CPU_BATCH_PIXELS = 4 * 256**2

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

logger = logging.getLogger(__name__)


def _infer(method: Callable[Concatenate[Animator, P], R]) -> Callable[Concatenate[Animator, P], R]:
    """Run a method of an animator without gradients, in the animator's precision."""

    @wraps(method)
    def run(self: Animator, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(), float32_products(self.precision):
            return method(self, *args, **kwargs)

    return run


class Portrait(NamedTuple):
    """An encoded source, or one a row of a batch; `weights`, of its own pose, lie in the CPU's memory."""

    code: Float[Tensor, "N D"]
    features: list[Tensor]
    weights: Float32[Tensor, "N K"]


class Animator:
    """Animate a portrait with the motion of a driving video."""

    def __init__(
        self,
        generator: Generator,
        device: str = "cpu",
        precision: Precision = "auto",
        compilation: Compilation = "none",
        crop: CropFacts = UNRECORDED,
    ) -> None:
        self.crop = crop
        """How the model's training clips were cropped."""
        self.device = resolve_device(device)
        self.generator = generator.to(self.device).eval()
        self.precision: ResolvedPrecision = resolve_precision(precision, self.device)
        require_compilation(compilation, self.device)
        self.compilation: Compilation = compilation
        self.model = InferenceModel(self.generator, DTYPES[self.precision])
        self._stack = copies_to(self.device)
        self._fetch = copies_from(self.device)
        self._num_ahead = num_ahead(self.device)
        # What runs for every batch; a single source is encoded as it is.
        speed_up = accelerator(compilation, self.device)
        self._weigh_batch = speed_up(self.model.weigh_images)
        self._paint_batch = speed_up(self.model.paint_bytes)
        self._repaint_batch = speed_up(self.model.repaint_bytes)

    @classmethod
    def load(
        cls,
        uri: str | Path,
        device: str = "cpu",
        precision: Precision = "auto",
        compilation: Compilation = "none",
    ) -> Animator:
        """Load a model.

        Args:
            uri: a checkpoint directory, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
            device: a torch device string; `auto` picks the GPU if there is one, else the CPU.
            precision: `auto` is bf16 on hardware with native support, else fp32; `tf32` rounds the factors of
                fp32 products on NVIDIA GPUs, several times as fast.
            compilation: `inductor` compiles the networks, so that the first batch of each size takes minutes;
                `cuda-graphs` records their launches (CUDA only), which takes seconds. See `warm_up`.

        Raises:
            ValueError: the model does not exist or is not a LIA model.
        """
        directory = models.resolve(uri).directory
        generator, crop = load_generator(directory), read_crop(directory)
        return cls(generator, device, precision, compilation, crop)

    def warm_up(self, batch_size: int) -> float:
        """Compile or record what batches of this size use, on black pictures; log and return the seconds."""
        start = time.perf_counter()
        black = [np.zeros((self.size_px, self.size_px, 3), np.uint8)]
        for source in (black[0], iter(black)):
            for _ in self.animate(source, black, "absolute", batch_size):
                pass
        seconds = time.perf_counter() - start
        logger.info("warmed up with a batch of %d in %.1f s", batch_size, seconds)
        return seconds

    @property
    def size_px(self) -> int:
        """Return the side of the square output images."""
        return self.generator.settings.size_px

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of the parameters; motion weights are valid only for models that share it."""
        return _parameters_sha256(self.generator)

    def animate(
        self,
        source: UInt8[np.ndarray, "H W 3"] | Iterable[UInt8[np.ndarray, "H W 3"]],
        driving: Iterable[UInt8[np.ndarray, "H2 W2 3"]],
        mode: Mode = "relative",
        batch_size: int = 16,
    ) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        """Yield one RGB frame for each driving frame.

        Args:
            source: the cropped portrait, or the cropped frames of a video, each paired with the driving frame
                at the same position; output ends with the shorter. Resized to the network's size. Whole
                pictures will do if the model was trained without face detection (crop rules `body` and
                `none`), since of those their middle square is taken.
            driving: cropped frames of the driving video.
            mode: `relative` adds the motion since the first driving frame to the source's own pose;
                `absolute` uses the driving pose itself.
            batch_size: driving frames per forward pass; reduced on a CPU if frames are large. Compiled or
                recorded networks get no smaller batch: one that is not full repeats its last frame.

        Raises:
            ValueError: an image is not uint8 RGB [H, W, 3], or the mode is unknown.
        """
        motion = self.motion_weights(driving, batch_size)
        start = None
        if is_relative(mode):
            start, motion = split_first(motion)
        yield from self.synthesize(source, motion, start, batch_size)

    def motion_weights(
        self, driving: Iterable[UInt8[np.ndarray, "H W 3"]], batch_size: int = 16
    ) -> Iterator[Float32[np.ndarray, " K"]]:
        """Yield the motion weights of each driving frame."""
        yield from in_turn(self._weighings(driving, self._usable_batch(batch_size)), self._num_ahead)

    def _weighings(
        self, driving: Iterable[UInt8[np.ndarray, "H W 3"]], batch_size: int
    ) -> Iterator[tuple[Finish, int]]:
        frames = iter(driving)
        while chunk := list(islice(frames, batch_size)):
            yield self._weigh(chunk, batch_size), len(chunk)

    def synthesize(
        self,
        source: UInt8[np.ndarray, "H W 3"] | Iterable[UInt8[np.ndarray, "H W 3"]],
        motion: Iterable[Float32[np.ndarray, " K"]],
        start: Float32[np.ndarray, " K"] | None = None,
        batch_size: int = 16,
    ) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        """Yield the source, moved by each of the motion weights.

        Args:
            source: one portrait, encoded once, or one per item of `motion`; output ends with the shorter.
            motion: motion weights of the driving frames.
            start: the reference weights of relative motion; None for absolute motion.
            batch_size: frames per forward pass.
        """
        batch_size = self._usable_batch(batch_size)
        moves = (
            self._moves(source, motion, start, batch_size)
            if isinstance(source, np.ndarray) and source.ndim == 3
            else self._moves_of_each(source, motion, start, batch_size)
        )
        yield from in_turn(moves, self._num_ahead)

    def _moves(
        self,
        source: UInt8[np.ndarray, "H W 3"],
        motion: Iterable[Float32[np.ndarray, " K"]],
        start: Float32[np.ndarray, " K"] | None,
        batch_size: int,
    ) -> Iterator[tuple[Finish, int]]:
        portrait = self._encode(source, batch_size)
        weights = iter(motion)
        while chunk := list(islice(weights, batch_size)):
            yield self._move(portrait, chunk, start, batch_size), len(chunk)

    def _moves_of_each(
        self,
        source: Iterable[UInt8[np.ndarray, "H W 3"]],
        motion: Iterable[Float32[np.ndarray, " K"]],
        start: Float32[np.ndarray, " K"] | None,
        batch_size: int,
    ) -> Iterator[tuple[Finish, int]]:
        pairs = zip(motion, source, strict=False)
        while some := list(islice(pairs, batch_size)):
            walks, images = (self._full(list(each), batch_size) for each in zip(*some, strict=True))
            yield self._move_each(images, walks, start), len(some)

    def encode(self, image: UInt8[np.ndarray, "H W 3"]) -> Portrait:
        """Encode a cropped portrait, to be painted many times by `paint`."""
        return self._encode(image, 1)

    def paint(self, portrait: Portrait, weights: Float32[np.ndarray, " K"]) -> UInt8[np.ndarray, "S S 3"]:
        """Return the portrait with these motion weights; its own are `portrait.weights`."""
        return self._move(portrait, [weights], None, 1)()[0]

    def _usable_batch(self, batch_size: int) -> int:
        if self.device.type != "cpu":
            return batch_size
        return min(batch_size, max(1, CPU_BATCH_PIXELS // self.size_px**2))

    def _full(self, chunk: list[T], batch_size: int) -> list[T]:
        """Repeat the last item, so that nothing is compiled or recorded again for a smaller batch."""
        missing = 0 if self.compilation == "none" else batch_size - len(chunk)
        return chunk + chunk[-1:] * missing

    @_infer
    def _encode(self, image: UInt8[np.ndarray, "H W 3"], batch_size: int) -> Portrait:
        code, features = self.model.encode(self._prepare(self._full([image], batch_size)))
        weights = self.model.weigh(code[:1]).float().cpu()
        return Portrait(code[:1].clone(), [feature[:1].clone() for feature in features], weights)

    @_infer
    def _weigh(self, images: list[np.ndarray], batch_size: int) -> Finish:
        return self._fetch(self._weigh_batch(self._prepare(self._full(images, batch_size))).float())

    def _move(
        self,
        portrait: Portrait,
        motion: list[np.ndarray],
        start: Float32[np.ndarray, " K"] | None,
        batch_size: int,
    ) -> Finish:
        if start is not None:
            moved = torch.from_numpy(np.stack(motion))
            motion = list(add_to_source(moved, torch.from_numpy(start), portrait.weights).numpy())
        return self._paint(portrait, motion, batch_size)

    @_infer
    def _paint(self, portrait: Portrait, walks: list[np.ndarray], batch_size: int) -> Finish:
        walk = self._stack(np.stack(self._full(walks, batch_size)))
        return self._fetch(self._paint_batch(walk, portrait.code, *portrait.features))

    @_infer
    def _move_each(
        self, images: list[np.ndarray], walks: list[np.ndarray], start: Float32[np.ndarray, " K"] | None
    ) -> Finish:
        walk = np.stack(walks) if start is None else np.stack(walks) - start
        own_share = np.full((1, 1), float(start is not None), np.float32)
        return self._fetch(
            self._repaint_batch(self._prepare(images), self._stack(walk), self._stack(own_share))
        )

    def _prepare(self, images: Sequence[UInt8[np.ndarray, "H W 3"]]) -> Float[Tensor, "B 3 S S"]:
        """Move bytes to the device and convert them there, which transfers a quarter of the data."""
        for image in images:
            require_picture(image)
        if not shows_faces(self.crop.rule):
            images = [middle_of(image) for image in images]
        if {image.shape for image in images} == {(self.size_px, self.size_px, 3)}:
            return to_float(self._stack(images))
        size = (self.size_px, self.size_px)
        return torch.cat(
            [
                functional.interpolate(
                    to_float(self._stack([image])),
                    size=size,
                    mode="bilinear",
                    align_corners=False,
                    antialias=True,
                )
                for image in images
            ]
        )


def require_picture(image: np.ndarray) -> None:
    """Check type and shape at run time, where jaxtyping is off; wrong input would give wrong pictures.

    Raises:
        ValueError: `image` is not uint8 [H, W, 3] or has no pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or image.size == 0:
        raise ValueError(
            f"got an image of type {image.dtype} and shape {list(image.shape)}; "
            "images must be uint8 RGB [H, W, 3] with at least one pixel: convert it"
        )


def _parameters_sha256(module: nn.Module) -> str:
    """Return the sha256 over names, types, shapes and values of the module's state dict."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
