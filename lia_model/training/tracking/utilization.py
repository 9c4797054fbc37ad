"""Model FLOP utilization: the operations of a training per second, as a share of what its devices can do.

The operations are counted in the step itself, per pair, at the intervals of its terms. The ceiling is the
maker's for dense products; where it is not known, as for CPUs, there is no utilization.
"""

from __future__ import annotations

import logging
import math

import torch

from lia_model.device.precision import resolve_precision
from lia_model.losses.terms import Objective, build_objective
from lia_model.settings import TrainSettings
from lia_model.training.state import new_state
from lia_model.training.step import Networks, training_step

NUM_PAIRS = 2
PEAK_TFLOP_PER_S = {
    # Part of the device's name: fp32, TF32, bf16. NVIDIA's data sheets, without sparsity.
    "H200": (67.0, 494.0, 989.0),
    "H100 PCIe": (51.0, 378.0, 756.0),
    "H100": (67.0, 494.0, 989.0),
    "A100": (19.5, 156.0, 312.0),
    "L40S": (91.6, 183.0, 366.0),
    "L4": (30.3, 60.0, 121.0),
}
PRECISIONS = ("fp32", "tf32", "bf16")

log = logging.getLogger(__name__)


def peak_flop_per_s(device_name: str, precision: str) -> float | None:
    """Return the ceiling of one device in fp32, tf32 or bf16; None if it is not known."""
    for name, peaks in PEAK_TFLOP_PER_S.items():
        if name in device_name:
            return peaks[PRECISIONS.index(precision)] * 1e12
    return None


def utilization_per_pair(settings: TrainSettings, size_px: int, device: torch.device) -> float | None:
    """Return the share of one device's second that the operations of a pair take at its ceiling.

    Times the pairs per second and device it is the utilization. None, said once, if the ceiling is unknown.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "this processor"
    peak = peak_flop_per_s(name, resolve_precision(settings.precision, device))
    if peak is None:
        log.info("the metric speed/mfu is left out: the peak of %s is not known", name)
        return None
    return flop_per_pair(settings, size_px, device) / peak


def flop_per_pair(settings: TrainSettings, size_px: int, device: torch.device) -> float:
    """Count the operations of a step in products and convolutions, 2 for each multiply-add, per pair.

    It runs steps of networks of its own on two pairs of noise. Fused kernels, which move memory rather than
    compute, do not count.
    """
    # Importing it imports Triton.
    from torch.utils.flop_counter import FlopCounterMode

    state = new_state(settings.model_copy(update={"init_from": None}), size_px, device)
    networks = Networks(
        state.generator, state.discriminator, state.generator_optimizer, state.discriminator_optimizer
    )
    objective = build_objective(settings.losses, device)
    precision = resolve_precision(settings.precision, device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    source, driving = torch.rand(2, NUM_PAIRS, 3, size_px, size_px, device=device) * 2 - 1
    known: dict[tuple[bool, ...], float] = {}
    total, start, num_steps = 0.0, *_cycle(objective)
    for step in range(start, start + num_steps):
        due = tuple(term.is_due(step) for term in (*objective.generator, *objective.discriminator))
        if due not in known:
            with FlopCounterMode(display=False) as counter:
                training_step(networks, source, driving, step=step, objective=objective, autocast=autocast)
            known[due] = counter.get_total_flops() / NUM_PAIRS
        total += known[due]
    return total / num_steps


def _cycle(objective: Objective) -> tuple[int, int]:
    """Return a step from which all terms take part, and after how many steps their intervals repeat."""
    terms = (*objective.generator, *objective.discriminator)
    return max(term.start_step for term in terms), math.lcm(*(term.every_steps for term in terms))
