"""Data-parallel training on Ray Train workers, resumed from the last checkpoint of an interrupted run."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayError
from ray.train import (
    CheckpointConfig,
    ControllerError,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from torch import nn

from lia_model.checkpoints.best import read_best
from lia_model.data.shard_cache import shards_here
from lia_model.data.sharded_clips import ShardedClips
from lia_model.device.allocator import keep_freed_memory
from lia_model.registry.run_journal import last_checkpoint
from lia_model.settings import TrainSettings
from lia_model.training.cluster.best_storage import fetch_best, forget_of_earlier_run
from lia_model.training.cluster.checkpoint_reporter import STEP, CheckpointReporter
from lia_model.training.cluster.checkpoint_validation import CheckpointValidation
from lia_model.training.cluster.failures import FailureWindow, ending, in_one_line
from lia_model.training.cluster.journal_actor import RemoteJournal, open_journal
from lia_model.training.cluster.leftovers import remove_leftovers
from lia_model.training.cluster.notices import PreemptionNotice, RoomForMore
from lia_model.training.cluster.room import TIMEOUT_S as ROOM_TIMEOUT_S
from lia_model.training.cluster.room import Wanted, wait_for_room
from lia_model.training.cluster.run_storage import RunStorage
from lia_model.training.data_parallel import DataParallel, wrapper_options
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.pairs.batch_share import BatchShare
from lia_model.training.state import TrainingState, load_state, new_state
from lia_model.training.stop import TrainingStopped
from lia_model.training.tracking.forwarded_warnings import forwarded_warnings
from lia_model.training.tracking.rank_metrics import Machine, joined
from lia_model.training.tracking.run_logger import RunLogger
from lia_model.training.tracking.step_trace import FOLDER, StepTrace
from lia_model.training.tracking.utilization import utilization_per_pair
from lia_model.training.validation.validator import is_possible
from preprocessing.storage.object_store import Store

log = logging.getLogger(__name__)

# Of the nodes that stay, after the notice's deadline: the checkpoint may still be on its way.
PREEMPTION_GRACE_S = 60.0
RETURN_TIMEOUT_S = 600.0
"""How long a run waits for nodes that it has lost."""


@dataclass(frozen=True)
class Fit:
    """One data-parallel training run, as plain values that are sent to the workers; paths are absolute."""

    settings: TrainSettings
    shards: Path
    """Directory of the shards, on machines that have it."""
    data_digest: str
    """Hash of the shards' manifest."""
    store_url: str | None
    """Object store from which the other machines fetch the shards; None for nowhere."""
    storage: RunStorage
    """Ray Train's checkpoints; a second fit with the same one resumes."""
    result: Path
    """Folder, on the machine that calls `fit`, for the last checkpoint if the storage is an object store."""
    provenance: dict[str, Any]
    """Stored in every checkpoint."""
    journal: Path
    """Folder, on the machine that calls `fit`, of the run's journal."""
    with_profile: bool = False
    """Rank 0 writes a trace of some steps to the folder `profile` in the storage of the run."""


def fit(work: Fit) -> Path:
    """Train to the last step and return the folder of its checkpoint, which includes `released/`.

    The best generator by validation is in the folder `best` beside it.

    Failed workers are started again, from the last checkpoint. Failures are counted from one checkpoint to
    the next, a lost node as one; lost nodes of which Ray was told beforehand do not count.

    Raises:
        TrainingStopped: the run cannot go on; the workers are not started again.
        RepeatedFailureError: workers failed again and again without a new checkpoint.
        FullDiskError: a checkpoint could not be written.
        ValueError: the cluster is too small, or the workers refused what an operator wrote.
    """
    storage = work.storage
    forget_of_earlier_run(storage)
    window, timeout_s = FailureWindow(), ROOM_TIMEOUT_S
    journal = open_journal(work.journal)
    validation = None
    if is_possible(work.settings, work.shards):
        validation = CheckpointValidation(
            work.settings, work.shards, work.data_digest, work.store_url, storage, journal
        )
    try:
        while True:
            wait_for_room(_wanted(work.settings), ray.nodes, timeout_s)
            storage.discard_damaged_list()
            remove_leftovers(storage)
            try:
                result = _trainer(work, journal, validation).fit()
            # The second, such as a lack of memory, from the actor that controls the workers.
            except (TrainingFailedError, RayError) as error:
                _count(window, error, last_checkpoint(work.journal))
                timeout_s = RETURN_TIMEOUT_S
            else:
                break
    finally:
        journal.close()
    if result.return_value is not None:
        raise TrainingStopped(result.return_value)
    if result.checkpoint is None:
        raise RuntimeError(
            f"training {storage.name} ended without a checkpoint in {storage.place}: see the logs of its "
            "workers"
        )
    last = storage.fetch(result.checkpoint, work.result)
    fetch_best(storage, last.parent)
    if validation is not None and read_best(last.parent) is None:
        log.warning("no checkpoint of %s was validated (see Ray's log): the last is released", storage.name)
    return last


def _wanted(settings: TrainSettings) -> Wanted:
    least = settings.num_workers[0] if isinstance(settings.num_workers, tuple) else settings.num_workers
    return Wanted(least, {"CPU": 1, "GPU": 1} if settings.use_gpu else {"CPU": 1})


def _trainer(work: Fit, journal: RemoteJournal, validation: CheckpointValidation | None) -> TorchTrainer:
    settings = work.settings
    files, root = work.storage.open()
    return TorchTrainer(
        _train_worker,
        train_loop_config={"work": work, "journal": journal, "validation": validation},
        validation_config=None if validation is None else validation.config(),
        scaling_config=ScalingConfig(num_workers=settings.num_workers, use_gpu=settings.use_gpu),
        torch_config=TorchConfig(backend="nccl" if settings.use_gpu else "gloo"),
        run_config=RunConfig(
            name=work.storage.name,
            storage_path=root,
            storage_filesystem=files,
            # By step: else Ray takes a checkpoint for a new one when its validation ends.
            checkpoint_config=CheckpointConfig(settings.num_kept_checkpoints, STEP),
            # Ray counts failures from the start of a run to its end; `fit` counts them itself.
            failure_config=FailureConfig(
                max_failures=0, controller_failure_limit=0, preemption_grace_s=PREEMPTION_GRACE_S
            ),
        ),
    )


def _count(window: FailureWindow, error: Exception, step: int) -> None:
    """Raise what ends the run, or log why the workers are started again."""
    if isinstance(error, WorkerGroupError) and error.worker_failures:
        failures: dict[int, BaseException] = dict(error.worker_failures)
        reason = in_one_line(failures)
    else:
        # The controller writes too: its list of checkpoints.
        failures = {0: error.controller_failure if isinstance(error, ControllerError) else error}
        reason = in_one_line(failures).removeprefix("rank 0: ")
    end = ending(failures)
    if end is not None:
        raise end from error
    if isinstance(failures.get(0), WorkerGroupStartupTimeoutError):
        window.add_late_start(step, reason)
        log.warning("the workers did not start (%s) and are started again from step %d", reason, step)
        return
    window.add(step, reason)
    log.warning("the workers failed (%s) and are started again from step %d", reason, step)


def _train_worker(config: dict[str, Any]) -> str | None:
    """Train, and return why the run cannot go on, or None; an exception would start the workers again."""
    work: Fit = config["work"]
    keep_freed_memory()
    torch.set_num_threads(work.settings.num_threads)
    store = None if work.store_url is None else Store(work.store_url)
    is_first = ray.train.get_context().get_world_rank() == 0
    with (
        forwarded_warnings(config["journal"]) if is_first else nullcontext(),
        shards_here(work.shards, work.data_digest, "train", store, work.settings.shard_cache) as shards,
    ):
        return _train_on(ShardedClips(shards, "train"), work, config["journal"], config["validation"])


def _train_on(
    clips: ShardedClips, work: Fit, journal: RemoteJournal, validation: CheckpointValidation | None
) -> str | None:
    settings = work.settings
    context = ray.train.get_context()
    state = new_state(settings, clips.size_px, get_device())
    _resume(state, work)
    rank = context.get_world_rank()
    parallel = DataParallel(rank, context.get_world_size(), data_parallel)
    run_logger = RunLogger(journal, settings.strip_every_steps) if rank == 0 else None
    try:
        run(
            state,
            build_loader(clips, settings),
            settings,
            _with_trace(_hooks(work, parallel, run_logger, clips.size_px, validation), work, run_logger),
            parallel,
        )
    except TrainingStopped as reason:
        return str(reason)
    return None


def _resume(state: TrainingState, work: Fit) -> None:
    """Load Ray's latest checkpoint; if it or Ray's list is damaged, the newest whole one of the run."""
    with work.storage.whole(ray.train.get_checkpoint()) as folder:
        if folder is not None:
            load_state(state, folder)
            log.info("resuming at step %d", state.step)


def _hooks(
    work: Fit,
    parallel: DataParallel,
    run_logger: RunLogger | None,
    size_px: int,
    validation: CheckpointValidation | None,
) -> Hooks:
    reporter = CheckpointReporter(work.settings, work.provenance, run_logger, validation)
    machine = Machine(get_device())
    per_pair = utilization_per_pair(work.settings, size_px, get_device())
    latest: dict[int, dict[str, float]] = {}
    num_pairs = len(BatchShare.of(work.settings, parallel.rank, parallel.num_ranks).numbers(0))
    preemption = PreemptionNotice()
    room = RoomForMore(_wanted(work.settings), parallel, work.settings.max_num_workers)

    def on_metrics(step: int, values: dict[str, float]) -> None:
        if per_pair is not None:
            values = {**values, "speed/mfu": values["speed/pairs_per_s"] * per_pair}
        values = joined(values, machine.measure(), num_pairs)
        latest[step] = latest.pop(step, {}) | values
        for earlier in list(latest)[:-1]:
            del latest[earlier]
        if run_logger is not None:
            run_logger.add_metrics(step, values)

    def on_checkpoint(state: TrainingState) -> None:
        reporter.report(state, latest.get(state.step, {}))

    hooks = Hooks(
        on_metrics=on_metrics,
        on_checkpoint=on_checkpoint,
        is_checkpoint_wanted=lambda: any([preemption(), room()]),
    )
    if run_logger is None:
        return hooks
    return replace(hooks, on_strip=run_logger.add_strip, on_damage=run_logger.log_damage)


def _with_trace(hooks: Hooks, work: Fit, run_logger: RunLogger | None) -> Hooks:
    """Return the hooks, on rank 0 with those that write a trace, if one is wanted."""
    if run_logger is None or not work.with_profile:
        return hooks

    def keep(trace: Path, name: str) -> None:
        run_logger.add_trace(work.storage.keep(trace, f"{FOLDER}/{name}"))

    return replace(hooks, on_step=StepTrace(work.settings.num_steps, keep).after_step)


def data_parallel(module: nn.Module) -> nn.Module:
    """Wrap a network for data-parallel training; with one worker, return it bare."""
    return prepare_model(module, parallel_strategy_kwargs=wrapper_options())
