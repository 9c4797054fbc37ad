"""The training loop in pure torch, the same under Ray Train, on a single GPU machine and in tests.

`python -m lia_model.training.loop DIR` trains on a folder in one process: see `folder_run`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.profiler import record_function

from lia_model.data.pixels import to_bytes
from lia_model.data.sharded_clips import ShardedClips
from lia_model.device.compilation import compile_networks, not_compiled, require_compiler
from lia_model.device.determinism import deterministic_algorithms
from lia_model.device.pinned_ring import copies_to
from lia_model.device.precision import float32_products, resolve_precision
from lia_model.losses.terms import build_objective
from lia_model.settings import TrainSettings
from lia_model.training.data_parallel import (
    ALONE,
    DataParallel,
    GradientMean,
    of_all_ranks,
    settle_buckets,
)
from lia_model.training.ema import update_average
from lia_model.training.pairs.batch_share import BatchShare
from lia_model.training.pairs.damage import Damage
from lia_model.training.pairs.draw import build_draw
from lia_model.training.pairs.loader import PairLoader
from lia_model.training.schedule import is_checkpoint_due
from lia_model.training.state import TrainingState
from lia_model.training.step import Networks, learning_rate_factor, training_step
from preprocessing.strips import grid

log = logging.getLogger(__name__)


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """Callbacks of the loop; every rank calls them at the same steps."""

    on_step: Callable[[int], None] = _nothing
    """The number of updates made, after every one of them and before the other hooks."""
    on_metrics: Callable[[int, dict[str, float]], None] = _nothing
    """Step, and since the last call: means of losses and gradient norms, this rank's pairs per second and the
    share of time that it waited for them; and the present learning rates."""
    on_strip: Callable[[int, UInt8[np.ndarray, "H W 3"]], None] = _nothing
    """Step, and a picture with rows of source, driving and result."""
    on_damage: Callable[[Damage], None] = _nothing
    """What does not decode, whenever more frames were found damaged."""
    on_checkpoint: Callable[[TrainingState], None] = _nothing
    """Called when a checkpoint is due, and after the last step."""
    is_checkpoint_wanted: Callable[[], bool] = lambda: False
    """Asked with every `on_metrics` whether one is due before its time; the same on every rank."""


@dataclass
class _RunningMeans:
    """Losses summed since they were last logged."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    num_steps: int = 0
    waited_s: float = 0.0
    started_s: float = field(default_factory=time.perf_counter)

    def add(self, values: dict[str, Tensor]) -> None:
        self.num_steps += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self, batch_size: int) -> dict[str, float]:
        # Read together, in one copy from the device.
        totals = torch.stack(list(self.sums.values())).tolist() if self.sums else []
        means = {name: total / self.counts[name] for name, total in zip(self.sums, totals, strict=True)}
        elapsed_s = time.perf_counter() - self.started_s
        means["speed/pairs_per_s"] = self.num_steps * batch_size / elapsed_s
        means["speed/data_wait_share"] = self.waited_s / elapsed_s
        return means


def run(
    state: TrainingState,
    loader: PairLoader,
    settings: TrainSettings,
    hooks: Hooks,
    parallel: DataParallel = ALONE,
) -> None:
    """Train from `state.step` to `settings.num_steps`, changing `state` in place.

    Args:
        state: where to start.
        loader: the pairs by number.
        settings: the run's settings.
        hooks: receive metrics, pictures and checkpoints.
        parallel: this process among those of the run.

    Raises:
        ValueError: there are more processes than micro-batches, or the networks are to be compiled and this
            machine lacks what that takes.
        NonFiniteError: a loss or a gradient was not finite. It has changed no weight, and no hook is called
            after it.
        DamagedDataError: more pairs hold frames that do not decode than may.
    """
    device = next(state.generator.parameters()).device
    if settings.compile:
        require_compiler(device)
    networks = _networks(state, settings, parallel)
    objective = build_objective(settings.losses, device)
    precision = resolve_precision(settings.precision, device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    base_rates = _rates(state)
    means = _RunningMeans()
    stack = copies_to(device)
    share = BatchShare.of(settings, parallel.rank, parallel.num_ranks)

    def load(first: int) -> UInt8[Tensor, "B 2 S S 3"]:
        # In the loader's thread too, which computes on the same stream: the device's default one.
        return stack(loader.frames(share.numbers(first)).numpy())

    with (
        float32_products(precision),
        deterministic_algorithms(settings.deterministic),
        ThreadPoolExecutor(1) as pool,
    ):
        upcoming = pool.submit(load, state.num_pairs)
        _settle(networks, autocast)
        while state.step < settings.num_steps:
            asked_s = time.perf_counter()
            with record_function("wait for data"):
                frames = upcoming.result()
            means.waited_s += time.perf_counter() - asked_s
            upcoming = pool.submit(load, state.num_pairs + settings.global_batch_size)
            source, driving = loader.images(frames, share.numbers(state.num_pairs))
            _set_rates(
                state, base_rates, learning_rate_factor(state.step, settings.num_steps, settings.optimizer)
            )
            values = training_step(
                networks,
                source,
                driving,
                step=state.step,
                objective=objective,
                autocast=autocast,
                share=share,
            )
            state.step += 1
            state.num_pairs += settings.global_batch_size
            if settings.ema_decay:
                with record_function("average"):
                    update_average(state.average, state.generator, settings.ema_decay, state.step)
            losses = {f"loss/{name}": value for name, value in values.items()}
            means.add(losses | networks.gate.norms())
            networks.gate.record(state.step, losses)
            hooks.on_step(state.step)
            if _is_any_hook_due(state.step, settings):
                networks.gate.check()
                _count_damage(state, loader, hooks)
            means = _call_hooks(state, settings, hooks, means, (source, driving))


def _networks(state: TrainingState, settings: TrainSettings, parallel: DataParallel) -> Networks:
    if settings.compile:
        compile_networks(state.generator, state.discriminator)
    generator, discriminator = parallel.wrap(state.generator), parallel.wrap(state.discriminator)
    return Networks(
        generator,
        discriminator,
        state.generator_optimizer,
        state.discriminator_optimizer,
        settings.optimizer.max_gradient_norm,
        generator_mean=GradientMean(generator),
        discriminator_mean=GradientMean(discriminator),
        as_written=not_compiled if settings.compile else nullcontext,
    )


def _settle(networks: Networks, autocast: torch.autocast) -> None:
    # With other images than those of the steps, for which the compiler would make a program of its own.
    with networks.as_written():
        settle_buckets(networks.generator, networks.discriminator, autocast)
    networks.generator_mean.wait()
    networks.discriminator_mean.wait()


def build_loader(clips: ShardedClips, settings: TrainSettings) -> PairLoader:
    """Return the loader of the pairs, augmented as set."""
    return PairLoader(clips, build_draw(clips, settings), settings.augmentation)


def _is_any_hook_due(step: int, settings: TrainSettings) -> bool:
    intervals = (settings.log_every_steps, settings.strip_every_steps)
    return is_checkpoint_due(step, settings) or any(step % interval == 0 for interval in intervals)


def _count_damage(state: TrainingState, loader: PairLoader, hooks: Hooks) -> None:
    damage = state.damage
    num_known = len(damage.frames)
    for of_rank in of_all_ranks(loader.take_replaced(state.num_pairs)):
        damage.add(of_rank)
    if len(damage.frames) > num_known:
        hooks.on_damage(damage)
    damage.require_little(state.num_pairs)


def _call_hooks(
    state: TrainingState,
    settings: TrainSettings,
    hooks: Hooks,
    means: _RunningMeans,
    batch: tuple[Tensor, Tensor],
) -> _RunningMeans:
    is_last = state.step == settings.num_steps
    is_wanted = False
    if state.step % settings.log_every_steps == 0 or is_last:
        is_wanted = hooks.is_checkpoint_wanted()
        values = means.read(len(batch[0])) | _learning_rates(state) | state.damage.metrics()
        hooks.on_metrics(state.step, values)
        means = _RunningMeans()
    if state.step % settings.strip_every_steps == 0 or is_last:
        hooks.on_strip(state.step, sample_strip(state, settings, *batch))
    if is_checkpoint_due(state.step, settings) or is_wanted:
        hooks.on_checkpoint(state)
    return means


@torch.no_grad()
def sample_strip(
    state: TrainingState, settings: TrainSettings, source: Tensor, driving: Tensor, num_columns: int = 8
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture of up to `num_columns` pairs, with a row each for source, driving and result."""
    source, driving = source[:num_columns], driving[:num_columns]
    with not_compiled() if settings.compile else nullcontext():
        result = state.released_generator(settings.ema_decay)(source, driving)
    return grid(map(to_bytes, (source, driving, result)))


def _learning_rates(state: TrainingState) -> dict[str, float]:
    optimizers = {"generator": state.generator_optimizer, "discriminator": state.discriminator_optimizer}
    return {f"learning_rate/{name}": each.param_groups[0]["lr"] for name, each in optimizers.items()}


def _rates(state: TrainingState) -> list[float]:
    # The optimizers' own rates, which the schedule scales; checkpoints do not hold them.
    return [
        group["lr"]
        for optimizer in (state.generator_optimizer, state.discriminator_optimizer)
        for group in optimizer.param_groups
    ]


def _set_rates(state: TrainingState, rates: list[float], factor: float) -> None:
    groups = state.generator_optimizer.param_groups + state.discriminator_optimizer.param_groups
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate * factor


if __name__ == "__main__":
    from lia_model.training.folder_run import main

    main(sys.argv[1:])
