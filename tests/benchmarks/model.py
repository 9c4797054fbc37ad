"""The model alone: one driving frame to one result, the source encoded already where that is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch

from lia_model.data.pixels import to_float
from lia_model.inference import InferenceModel
from lia_model.losses.image_distances import psnr
from lia_model.networks.build import build_generator
from lia_model.networks.generator import Generator
from lia_model.settings import NetworkSettings
from tests.benchmarks.apart import Apart
from tests.benchmarks.floor import build_floor, convolutions
from tests.benchmarks.published_formulation import PublishedFormulation
from tests.benchmarks.timing import Row, by_turns
from tests.puppets import draw_identity, draw_motion, render

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


def calmed_generator(size_px: int) -> Generator:
    """Return the one that all candidates hold, drawn from one seed.

    Fresh flow branches tear the picture apart; calmed, it is one on which precision can be judged.
    """
    generator = build_generator(published_network(size_px), 0).eval()
    generator.synthesis.weaken_flow(0.05, 2.0)
    return generator


def measure(cases: list[Case], device: torch.device) -> Iterator[Row]:
    """Time ours, the published formulation, its compilation and the floor, by turns."""
    for case in cases:
        with ExitStack() as stack:
            seconds = by_turns(_candidates(case, device, stack), case.num_rounds, device)
        per_frame = {name: [each / case.batch_size for each in times] for name, times in seconds.items()}
        name = f"{case.size_px} px, batch {case.batch_size}, {case.precision}"
        yield Row("model", name, per_frame, _note(case, device))


def _note(case: Case, device: torch.device) -> str:
    if case.batch_size > 1 or case.precision == "fp32":
        return ""
    return f"PSNR against fp32 {quality(case.size_px, DTYPES[case.precision], device):.1f} dB"


def _candidates(case: Case, device: torch.device, stack: ExitStack) -> dict[str, Callable[[], object]]:
    generator = calmed_generator(case.size_px).to(device)
    dtype = DTYPES[case.precision]
    ours = InferenceModel(generator, dtype).to(device)
    source, driving = _images(case, device)
    with torch.inference_mode():
        code, features = ours.encode(source[:1])
        weights = ours.weigh(code)

    def run_ours() -> object:
        with torch.inference_mode():
            return ours(driving, code, features, weights - weights)

    found = {"ours": run_ours}
    compiled = [False, True] if case.with_compiled else [False]
    # As published it knows fp32 alone; below that it is run under autocast as well.
    for precision in sorted({"fp32", case.precision}, reverse=True):
        for is_compiled in compiled if precision == case.precision else [False]:
            name = "compiled" if is_compiled else "published"
            name += "" if precision == "fp32" else f" {precision}"
            arguments = (replace(case, precision=precision), str(device), is_compiled)
            if device.type == "cuda":
                found[name] = build_published(*arguments)
            else:
                found[name] = apart = Apart(build_published, *arguments)
                stack.callback(apart.close)
    if device.type == "cpu":
        found["published, memory kept"] = build_published(case, str(device), False)
    return found | {"floor": build_floor(generator.settings, case.batch_size, dtype, device)}


def _images(case: Case, device: torch.device) -> torch.Tensor:
    """Return a source and a driving picture for each of the batch, as noise: speed does not depend on it."""
    shape = (2, case.batch_size, 3, case.size_px, case.size_px)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1


def build_published(case: Case, device: str, is_compiled: bool) -> Callable[[], object]:
    """Return a function that runs the published formulation once on a batch."""
    source, driving = _images(case, torch.device(device))
    published = PublishedFormulation(calmed_generator(case.size_px).to(device))
    module = torch.compile(published) if is_compiled else published
    dtype = DTYPES[case.precision]
    with torch.no_grad():
        start = published.weights(published.encode(source)[0])

    def run() -> object:
        with torch.no_grad(), torch.autocast(source.device.type, dtype, enabled=dtype != torch.float32):
            return module(source, driving, start)

    return run


def quality(size_px: int, dtype: torch.dtype, device: torch.device) -> float:
    """Return the PSNR in dB of our result in `dtype` against that in fp32, on one puppet moved by another."""
    generator = calmed_generator(size_px).to(device)
    rng = np.random.default_rng(0)
    pictures = [render(draw_identity(rng), draw_motion(rng, 1)[0], size_px) for _ in range(2)]
    source, driving = (to_float(picture[None]).to(device) for picture in pictures)
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
