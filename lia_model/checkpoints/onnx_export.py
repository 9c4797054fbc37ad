"""Export of a generator as two ONNX graphs, checked against the module.

`encoder.onnx` maps images to codes, motion weights and feature maps; `painter.onnx` maps a code, motion
weights and feature maps to images, so that a source is encoded once. The caller passes the motion weights
`driving`, or `driving - start + source` for relative motion. The batch size is dynamic in both.
Axes: B batch, D latent width, K directions, S side of the image in pixels.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lia_model.networks.generator import Generator
from preprocessing.storage.files import write_folder_atomically

ENCODER, PAINTER = "encoder.onnx", "painter.onnx"
TOLERANCE = 1e-3
"""Largest accepted difference from the module, in codes, weights and features of random images."""
IMAGE_TOLERANCE = 2e-2
"""The same for images, where sampling at edges amplifies rounding."""

logger = logging.getLogger(__name__)


class _EncoderGraph(nn.Module):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.encoder, self.head = generator.encoder, generator.motion_head

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, ...]:
        code, features = self.encoder(image)
        return code, self.head(code), *features


class _PainterGraph(nn.Module):
    directions: Tensor

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.synthesis = generator.synthesis
        self.register_buffer("directions", generator.motion.directions().detach())

    def forward(
        self, code: Float[Tensor, "B D"], weights: Float[Tensor, "B K"], *features: Tensor
    ) -> Float[Tensor, "B 3 S S"]:
        return self.synthesis(code + weights @ self.directions.T, list(features))


@torch.no_grad()
def export_onnx(generator: Generator, directory: Path) -> None:
    """Write both graphs to `directory`, after checking that they compute what the generator computes.

    Raises:
        ValueError: a required package is not installed, or `directory` holds other files.
        RuntimeError: a graph's outputs differ from the module's.
    """
    _require_packages()
    if directory.exists() and {path.name for path in directory.iterdir()} - {ENCODER, PAINTER}:
        raise ValueError(f"{directory} holds other files than {ENCODER} and {PAINTER}: name a new folder")
    generator = generator.eval()
    size_px = generator.settings.size_px
    images = torch.rand(2, 3, size_px, size_px, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoder, painter = _EncoderGraph(generator).eval(), _PainterGraph(generator).eval()
    code, weights, *features = (output.contiguous() for output in encoder(images))
    names = [f"feature_{feature.shape[-1]}" for feature in features]

    with write_folder_atomically(directory) as folder:
        outputs = ["code", "weights", *names]
        _export(encoder, (images,), folder / ENCODER, ["image"], outputs)
        _export(painter, (code, weights, *features), folder / PAINTER, outputs, ["image"])
        for count in (1, 2):
            _check(encoder, (images[:count],), folder / ENCODER, TOLERANCE)
            inputs = (code[:count], weights[:count], *(feature[:count] for feature in features))
            _check(painter, inputs, folder / PAINTER, IMAGE_TOLERANCE)


def _require_packages() -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"ONNX export needs {error.name}, which is not installed: pip install {error.name}"
        ) from None


def _export(
    module: nn.Module, inputs: tuple[Tensor, ...], path: Path, input_names: list[str], output_names: list[str]
) -> None:
    batch = torch.export.Dim("batch", min=1, max=1024)
    free = tuple({0: batch} for _ in inputs)
    shapes = (free[0], free[1], free[2:]) if len(inputs) > 1 else free
    # With gradients enabled the networks keep the contiguous layout; the gather by which they sample
    # channels_last has no ONNX operator.
    with torch.enable_grad(), warnings.catch_warnings():
        # The exporter's libraries raise deprecation warnings about each other.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            path,
            input_names=input_names,
            output_names=output_names,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )


def _check(module: nn.Module, inputs: tuple[Tensor, ...], path: Path, tolerance: float) -> None:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    got = session.run(None, {name: x.contiguous().numpy() for name, x in zip(names, inputs, strict=True)})
    wanted = module(*inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    worst = max(float((torch.from_numpy(a) - b).abs().max()) for a, b in zip(got, wanted, strict=True))
    if worst > tolerance:
        raise RuntimeError(
            f"{path.name} differs from the module by {worst:.1e}; at most {tolerance:.0e} is accepted: "
            "nothing was written"
        )
    logger.info("%s agrees with the module to %.1e", path.name, worst)
