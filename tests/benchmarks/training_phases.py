"""The parts of a step of the demo's training against the least operations of each, per pair.

A floor is the part's convolutions at the rate of a large one with its weights laid out, in the type the part
computes in; torch's matrix products in fp32 reach less than half of that on AMD's processors. The row of the
whole step counts lazy terms by their intervals. Seconds are the processor's on one thread, so that other
programs on the machine count less.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from lia_model.data.sharded_clips import ShardedClips
from lia_model.device.precision import DTYPES, resolve_precision
from lia_model.losses.imagenet_features import VGG_BLOCKS, build_features
from lia_model.losses.perceptual import PerceptualLoss, pyramid_scales
from lia_model.losses.terms import build_objective
from lia_model.networks.layers import octaves
from lia_model.ops.frozen_conv2d import FrozenConvRelu
from lia_model.settings import NetworkSettings, TrainSettings
from lia_model.training.ema import update_average
from lia_model.training.loop import build_loader
from lia_model.training.state import TrainingState, new_state
from lia_model.training.step import Networks, training_step
from tests.benchmarks.floor import convolutions
from tests.benchmarks.timing import Row, by_turns
from tests.lia_model.shards_on_disk import write_shards

PRESET = Path("pipelines/presets/demo.yaml")
CPU = torch.device("cpu")
CHANNELS, SIDE_PX, BATCH = 256, 32, 4
"""Of the convolution that gives the rate."""
VGG_MIN_SIDE_PX = 16


def measure(num_rounds: int, vgg: Path) -> Iterator[Row]:
    """Time the parts of the demo's step on one thread, as each of its workers has it."""
    settings = TrainSettings.model_validate(yaml.safe_load(PRESET.read_text())["train"])
    settings = settings.model_copy(update={"num_workers": 1, "global_batch_size": settings.micro_batch_size})
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.num_threads)
    try:
        with tempfile.TemporaryDirectory() as name:
            size_px = yaml.safe_load(PRESET.read_text())["shards"]["crop"]["size_px"]
            frames = np.random.default_rng(0).integers(0, 256, (3, 16, size_px, size_px, 3), dtype=np.uint8)
            write_shards(Path(name) / "shards", {"train": list(frames)}, size_px)
            yield from _rows(settings, ShardedClips(Path(name) / "shards", "train"), num_rounds, vgg)
    finally:
        torch.set_num_threads(threads)


def _rows(settings: TrainSettings, clips: ShardedClips, num_rounds: int, vgg: Path) -> Iterator[Row]:
    batch = settings.micro_batch_size
    state = new_state(settings, clips.size_px, CPU)
    precision = resolve_precision(settings.losses.perceptual.precision, CPU)
    loader, numbers = build_loader(clips, settings), range(batch)
    frames = loader.frames(numbers)
    source, driving = loader.images(frames, numbers)
    parts: dict[str, Callable[[], object]] = {
        "data, decoded": lambda: loader.frames(numbers),
        "data, to floats": lambda: loader.images(frames, numbers),
        "G": lambda: _backward(state.generator(source, driving)),
        "D": lambda: _backward(state.discriminator(torch.cat((driving, source)), num_batches=2)),
        "Adam of G": state.generator_optimizer.step,
        "Adam of D": state.discriminator_optimizer.step,
        "EMA": lambda: update_average(state.average, state.generator, settings.ema_decay, 100),
    }
    if vgg.is_file():
        perceptual = PerceptualLoss(build_features("vgg16", vgg), DTYPES[precision])
        image = source.clone().requires_grad_(True)
        parts["VGG16"] = lambda: perceptual(image, driving).backward()
        parts["whole step"] = _mean_step(state, settings, (source, driving))
    kinds = {"fp32", precision}
    convolved = {f"convolution in {kind}": _convolution(DTYPES[kind]) for kind in kinds}
    seconds = by_turns(parts | convolved, num_rounds, CPU, _processor_seconds)
    num_steps = cycle(settings)
    seconds |= {name: [each / num_steps for each in seconds[name]] for name in parts if name == "whole step"}
    gflop_of_one = 2e-9 * 9 * CHANNELS**2 * SIDE_PX**2 * BATCH
    rates = {kind: gflop_of_one / min(seconds[f"convolution in {kind}"]) for kind in kinds}
    gflop = operations(settings.network.at(clips.size_px))
    every = settings.losses.adversarial.every_steps, settings.losses.perceptual.every_steps
    gflop["whole step"] = gflop["G"] + gflop["D"] / every[0] + gflop["VGG16"] / every[1]
    floors = {name: gflop[name] / rates[precision if name == "VGG16" else "fp32"] for name in gflop}
    floors["whole step"] = floors["G"] + floors["D"] / every[0] + floors["VGG16"] / every[1]
    for name in parts:
        per_pair = {"ours": [each / batch for each in seconds[name]]}
        note = ""
        if name in gflop:
            per_pair["floor"] = [floors[name]] * num_rounds
            done = gflop[name] / (np.median(per_pair["ours"]))
            note = f"{gflop[name]:.2f} GFLOP, {done:.0f} GFLOP/s"
        if name == "whole step":
            rate = 1 / np.median(per_pair["ours"])
            note += f", {rate:.0f} pairs/s a thread, MFU {100 * floors[name] * rate:.0f} %"
            reached = ", ".join(f"{each:.0f} GFLOP/s in {kind}" for kind, each in sorted(rates.items()))
            note += f"; one convolution reaches {reached}"
            note += f"; all-reduce {_gradient_bytes(state) / 1e6:.1f} MB a step and worker"
        yield Row("training", f"demo, a pair: {name}", per_pair, note)


def operations(network: NetworkSettings) -> dict[str, float]:
    """Return GFLOP of convolutions in a pair, forward and backward: of G, of D's update, and of VGG16.

    A backward pass costs two forward ones, in frozen networks one; VGG16 also sees the target, forward only.
    """
    shapes = list(convolutions(network))
    to_code = next(place for place, shape in enumerate(shapes) if shape.kernel_px == 4)
    encoder = sum(shape.flop() for shape in shapes[: to_code + 1]) / 1e9
    decoder = sum(shape.flop() for shape in shapes[to_code + 1 :]) / 1e9
    body = sum(shape.flop() for shape in shapes[:to_code]) / 1e9
    sides = [
        network.size_px * scale for scale in pyramid_scales(octaves(network.size_px)[-1], VGG_MIN_SIDE_PX)
    ]
    return {
        "G": 3 * (2 * encoder + decoder),
        "D": 3 * 2 * body,
        "VGG16": 3 * sum(_vgg_flop(side) for side in sides) / 1e9,
    }


def _vgg_flop(side_px: float) -> float:
    """Return the operations of VGG16 up to relu5_1 on one image."""
    flop, num_in = 0.0, 3
    for block, depth in enumerate(VGG_BLOCKS["vgg16"]):
        num_out = min(64 * 2**block, 512)
        for _ in range(depth if block < 4 else 1):
            flop += 2 * 9 * num_in * num_out * (side_px / 2**block) ** 2
            num_in = num_out
    return flop


def _backward(result: Tensor) -> None:
    result.square().mean().backward()


def _mean_step(
    state: TrainingState, settings: TrainSettings, images: tuple[Tensor, Tensor]
) -> Callable[[], object]:
    """Return a function that takes as many steps as lazy terms need to come as often as they do."""
    objective = build_objective(settings.losses, CPU)
    optimizers = (state.generator_optimizer, state.discriminator_optimizer)
    networks = Networks(state.generator, state.discriminator, *optimizers)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16")

    def run() -> None:
        for step in range(cycle(settings)):
            training_step(networks, *images, step=step, objective=objective, autocast=autocast)
            update_average(state.average, state.generator, settings.ema_decay, 100)

    return run


def cycle(settings: TrainSettings) -> int:
    """Return after how many steps each lazy term has come as often as it does on average."""
    return math.lcm(settings.losses.perceptual.every_steps, settings.losses.adversarial.every_steps)


def _processor_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return max(time.process_time() - start, 1e-6)


def _convolution(dtype: torch.dtype) -> Callable[[], object]:
    layer = FrozenConvRelu(torch.randn(CHANNELS, CHANNELS, 3, 3), torch.zeros(CHANNELS), padding_px=1)
    x = torch.randn(BATCH, CHANNELS, SIDE_PX, SIDE_PX).to(dtype).contiguous(memory_format=torch.channels_last)
    return lambda: layer(x)


def _gradient_bytes(state: TrainingState) -> int:
    return sum(p.numel() * p.element_size() for p in state.generator.parameters())
