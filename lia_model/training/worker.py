"""Data-parallel training on Ray Train workers, resumed from the last checkpoint of an interrupted run."""

from __future__ import annotations

import inspect
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    CheckpointConsistencyMode,
    FailureConfig,
    RunConfig,
    ScalingConfig,
)
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lia_model.checkpoints.directory import save_generator
from lia_model.checkpoints.file_hashes import write_hashes
from lia_model.checkpoints.versions import newest_whole, whole_or_earlier
from lia_model.data.shard_hashes import verify_shards
from lia_model.data.sharded_clips import ShardedClips
from lia_model.device.allocator import keep_freed_memory
from lia_model.settings import TrainSettings
from lia_model.training.data_parallel import DataParallel
from lia_model.training.journal_actor import RemoteJournal, open_journal
from lia_model.training.loop import Hooks, build_loader, loss_provenance, run
from lia_model.training.rank_metrics import Machine, joined
from lia_model.training.run_logger import RunLogger
from lia_model.training.state import TrainingState, load_state, new_state, write_state
from lia_model.training.stop import TrainingStopped

log = logging.getLogger(__name__)

# How often a failed worker is replaced. The controller's limit turns resources that the cluster can never
# provide into an error; without it Ray waits for ever.
MAX_FAILURES = 2
MAX_CONTROLLER_FAILURES = 3
RELEASED = "released"
# Ray writes it in place, so a kill can cut it short.
RAY_LIST = "checkpoint_manager_snapshot.json"


@dataclass(frozen=True)
class Fit:
    """One data-parallel training run, as plain values that are sent to the workers; paths are absolute."""

    settings: TrainSettings
    shards: Path
    """Directory of the shards."""
    name: str
    """Name of the run's folder in `storage`; a second fit of the same name resumes it."""
    storage: Path
    """Folder of Ray Train's checkpoints."""
    provenance: dict[str, Any]
    """Stored in every checkpoint."""
    journal: Path
    """Folder, on the machine that calls `fit`, of the run's journal."""


def fit(work: Fit) -> Path:
    """Train to the last step and return the folder of its checkpoint, which includes `released/`.

    Raises:
        TrainingStopped: the run cannot go on; the workers are not started again.
        ray.train.TrainingFailedError: workers failed more often than they are replaced.
    """
    settings = work.settings
    discard_damaged_list(work.storage / work.name)
    journal = open_journal(work.journal)
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={"work": work, "journal": journal},
        scaling_config=ScalingConfig(num_workers=settings.num_workers, use_gpu=settings.use_gpu),
        torch_config=TorchConfig(backend="nccl" if settings.use_gpu else "gloo"),
        run_config=RunConfig(
            name=work.name,
            storage_path=str(work.storage),
            checkpoint_config=CheckpointConfig(num_to_keep=settings.num_kept_checkpoints),
            failure_config=FailureConfig(
                max_failures=MAX_FAILURES, controller_failure_limit=MAX_CONTROLLER_FAILURES
            ),
        ),
    )
    try:
        result = trainer.fit()
    finally:
        journal.close()
    if result.return_value is not None:
        raise TrainingStopped(result.return_value)
    if result.checkpoint is None:
        raise RuntimeError(
            f"training {work.name} ended without a checkpoint in {work.storage}: see the logs of its workers"
        )
    return Path(result.checkpoint.path)


def _train_worker(config: dict[str, Any]) -> str | None:
    """Train, and return why the run cannot go on, or None; an exception would start the workers again."""
    work: Fit = config["work"]
    settings = work.settings
    keep_freed_memory()
    torch.set_num_threads(settings.num_threads)
    context = ray.train.get_context()
    verify_shards(work.shards, "train")
    clips = ShardedClips(work.shards, "train")
    state = new_state(settings, clips.size_px, get_device())
    _resume(state, work)
    rank = context.get_world_rank()
    parallel = DataParallel(rank, context.get_world_size(), data_parallel)
    journal: RemoteJournal = config["journal"]
    run_logger = RunLogger(journal, settings.strip_every_steps) if rank == 0 else None
    try:
        run(
            state,
            build_loader(clips, settings),
            settings,
            _hooks(work, run_logger, clips.size_px),
            parallel,
        )
    except TrainingStopped as reason:
        return str(reason)
    return None


def _resume(state: TrainingState, work: Fit) -> None:
    """Load Ray's latest checkpoint; if it or Ray's list is damaged, the newest whole one of the run."""
    directory = work.storage / work.name
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            load_state(state, whole_or_earlier(Path(folder), directory))
    elif (earlier := newest_whole(directory)) is not None:
        load_state(state, earlier)
    else:
        return
    log.info("resuming at step %d", state.step)


def discard_damaged_list(directory: Path) -> None:
    """Remove Ray's list of a run's checkpoints if a killed process left half of it, which Ray refuses."""
    path = directory / RAY_LIST
    if not path.is_file():
        return
    try:
        json.loads(path.read_text())
    except ValueError:
        log.warning("%s is damaged and was removed; training goes on from the newest whole checkpoint", path)
        path.unlink()


def _hooks(work: Fit, run_logger: RunLogger | None, size_px: int) -> Hooks:
    latest: dict[str, float] = {}
    machine = Machine(get_device())
    provenance = work.provenance | loss_provenance(work.settings, size_px)

    def on_checkpoint(state: TrainingState) -> None:
        is_last = state.step == work.settings.num_steps
        if run_logger is None:
            ray.train.report({"step": state.step})
        else:
            # The steps up to this checkpoint are not repeated after it.
            run_logger.commit()
            with tempfile.TemporaryDirectory() as folder:
                directory = Path(folder)
                write_state(state, directory, provenance)
                released = state.released_generator(work.settings.ema_decay)
                save_generator(directory / RELEASED, released, provenance)
                write_hashes(directory)
                ray.train.report({"step": state.step, **latest}, Checkpoint.from_directory(directory))
        if is_last:
            # A checkpoint is kept only once the controller has committed it, which the last one waits for.
            ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED)

    def on_metrics(step: int, values: dict[str, float]) -> None:
        values = joined(values, machine.measure())
        latest.update(values)
        if run_logger is not None:
            run_logger.add_metrics(step, values)

    if run_logger is None:
        return Hooks(on_metrics=on_metrics, on_checkpoint=on_checkpoint)
    return Hooks(on_metrics, run_logger.add_strip, run_logger.log_damage, on_checkpoint)


def data_parallel(module: nn.Module) -> nn.Module:
    """Wrap a network for data-parallel training; with one worker, return it bare.

    Buffers are constant and so are not broadcast; the option's name depends on the version of torch.
    """
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return prepare_model(module, parallel_strategy_kwargs={option: False})
