"""Frames in, frames out: a loaded generator that animates one portrait.

The source is encoded once; driving frames stream through in batches, so memory does not grow with the clip.
Axes: B batch, K directions, H W pixels, S side of the network's images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from lia_model import registry
from lia_model.checkpoint import load_generator
from lia_model.data import to_bytes, to_float
from lia_model.networks.generator import Generator
from lia_model.settings import Precision

Mode = Literal["relative", "absolute"]
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Animator:
    """Animate a portrait with the motion of a driving video."""

    def __init__(self, generator: Generator, device: str = "cpu", precision: Precision = "auto") -> None:
        self.device = resolve_device(device)
        self.generator = generator.to(self.device).eval()
        self.precision = resolve_precision(precision, self.device)

    @classmethod
    def load(cls, uri: str | Path, device: str = "cpu", precision: Precision = "auto") -> Animator:
        """Load a model.

        Args:
            uri: a checkpoint directory, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
            device: torch's name of it; `auto` is a GPU where there is one, else the CPU.
            precision: `auto` is bf16 where the machine computes it natively, else fp32.

        Raises:
            ValueError: the model does not exist, or is not one of ours.
        """
        return cls(load_generator(registry.resolve(uri).directory), device, precision)

    @property
    def size_px(self) -> int:
        """Side of the square images that come out."""
        return self.generator.settings.size_px

    def animate(
        self,
        source: UInt8[np.ndarray, "H W 3"],
        driving: Iterable[UInt8[np.ndarray, "H2 W2 3"]],
        mode: Mode = "relative",
        batch_size: int = 16,
    ) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        """Yield one RGB frame for each driving frame.

        Args:
            source: the portrait, already cropped; resized to the network's size.
            driving: frames of the video that gives the motion, likewise.
            mode: `relative` adds the motion since the first driving frame to the source's own pose;
            `absolute` takes
                the driving pose itself.
            batch_size: driving frames a forward pass.
        """
        relative = is_relative(mode)
        frames = iter(driving)
        with torch.inference_mode(), self._autocast():
            code, features = self.generator.encoder(self._prepare([source]))
            start: Tensor | None = None
            while chunk := list(islice(frames, batch_size)):
                weights = self.generator.motion_weights(self._prepare(chunk))
                if relative:
                    start = weights[:1] if start is None else start
                    weights = weights - start + self.generator.motion_head(code)
                count = len(chunk)
                image = self.generator.synthesis(
                    self.generator.move(code.expand(count, -1), weights),
                    [feature.expand(count, -1, -1, -1) for feature in features],
                )
                yield from to_bytes(image)

    def _prepare(self, images: list[UInt8[np.ndarray, "H W 3"]]) -> Float[Tensor, "B 3 S S"]:
        size = (self.size_px, self.size_px)
        prepared = []
        for image in images:
            tensor = to_float(image[None]).to(self.device)
            if tensor.shape[-2:] != size:
                tensor = functional.interpolate(
                    tensor, size=size, mode="bilinear", align_corners=False, antialias=True
                )
            prepared.append(tensor)
        return torch.cat(prepared)

    def _autocast(self) -> torch.autocast:
        dtype = AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def resolve_device(device: str) -> torch.device:
    """Return the named device, with `auto` decided: CUDA where there is a GPU, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def is_relative(mode: str) -> bool:
    """Tell `relative` from `absolute`.

    Raises:
        ValueError: it is neither.
    """
    if mode not in ("relative", "absolute"):
        raise ValueError(f"mode is {mode!r}; it is 'relative' or 'absolute': choose one")
    return mode == "relative"


def resolve_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """Return `precision`, with `auto` decided: bf16 where `device` computes it natively, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if has_native_bf16(device) else "fp32"


def has_native_bf16(device: torch.device) -> bool:
    """Tell whether `device` multiplies bf16 in hardware: AVX512-BF16 on a CPU, Ampere or newer on CUDA."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
