"""The model alone: one driving frame to one result, the source encoded already where that is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from lia_model.inference import InferenceModel
from lia_model.metrics import psnr
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from tests.benchmarks.floor import build_floor, convolutions
from tests.benchmarks.published_formulation import PublishedFormulation
from tests.benchmarks.timing import Row, by_turns

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    size_px: int
    batch_size: int
    precision: str
    num_rounds: int
    with_compiled: bool
    """Also time torch.compile of the published formulation, whose compilation takes minutes."""


def published_network(size_px: int) -> NetworkSettings:
    """Return the published width."""
    return NetworkSettings(size_px=size_px, width=1.0, latent_dim=512, num_directions=20)


def measure(cases: list[Case], device: torch.device) -> Iterator[Row]:
    """Time ours, the published formulation, its compilation and the floor, by turns."""
    for case in cases:
        torch.manual_seed(0)
        generator = build_generator(published_network(case.size_px), 0).eval().to(device)
        # Fresh flow branches tear the picture apart; calmed, it is one on which precision can be judged.
        generator.synthesis.calm(0.05, 2.0)
        candidates = _candidates(generator, case, device)
        seconds = by_turns(candidates, case.num_rounds, device)
        per_frame = {name: [each / case.batch_size for each in times] for name, times in seconds.items()}
        yield Row("model", f"{case.size_px} px, batch {case.batch_size}, {case.precision}", per_frame)


def _candidates(generator, case: Case, device: torch.device) -> dict[str, Callable[[], object]]:
    side = (3, case.size_px, case.size_px)
    source = (torch.rand(1, *side, device=device) * 2 - 1).expand(case.batch_size, *side)
    driving = torch.rand(case.batch_size, *side, device=device) * 2 - 1
    dtype = DTYPES[case.precision]
    ours = InferenceModel(generator, dtype).to(device)
    published = PublishedFormulation(generator)
    autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    with torch.inference_mode():
        code, features = ours.encode(source[:1])
        weights = ours.weigh(code)
        start = weights.expand(case.batch_size, -1)

    def run_ours() -> object:
        with torch.inference_mode():
            return ours(driving, code, features, weights - weights)

    def run_published(module) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad(), autocast:
                return module(source, driving, start)

        return run

    found = {"ours": run_ours, "published": run_published(published)}
    if case.with_compiled:
        found["compiled"] = run_published(torch.compile(published))
    floor = build_floor(generator.settings, case.batch_size, dtype, device)
    return found | {"floor": floor}


def quality(size_px: int, dtype: torch.dtype, device: torch.device) -> float:
    """Return the PSNR in dB of our result in `dtype` against that in fp32, on one picture."""
    generator = build_generator(published_network(size_px), 0).eval().to(device)
    generator.synthesis.calm(0.05, 2.0)
    source, driving = torch.rand(2, 1, 3, size_px, size_px, device=device) * 2 - 1
    results = []
    with torch.inference_mode():
        for kind in (torch.float32, dtype):
            model = InferenceModel(generator, kind).to(device)
            code, features = model.encode(source)
            results.append(model(driving, code, features, model.weigh(code) * 0).float().clamp(-1, 1))
    exact, rounded = ((result + 1) / 2 for result in results)
    return float(psnr(exact, rounded))


def gflop_per_frame(size_px: int) -> float:
    """Return the floor's work: 2 for each multiply-add."""
    return sum(shape.flop() for shape in convolutions(published_network(size_px))) / 1e9
