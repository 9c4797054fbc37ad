"""Validates the checkpoints of a Ray run in tasks of their own, while training goes on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import Checkpoint, ValidationConfig, ValidationTaskConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lia_model.checkpoints.directory import load_generator, read_config
from lia_model.data.shard_cache import shards_here
from lia_model.device.allocator import keep_freed_memory
from lia_model.settings import TrainSettings
from lia_model.training.cluster.best_storage import keep_in_storage
from lia_model.training.cluster.run_storage import RunStorage
from lia_model.training.schedule import is_validation_due
from lia_model.training.tracking.forwarded_warnings import forwarded_warnings
from lia_model.training.tracking.run_logger import Journal, add_validation
from lia_model.training.validation.validator import Validator
from preprocessing.storage.object_store import Store

RELEASED = "released"
"""Folder of a checkpoint with the generator to validate and to release."""
TIMEOUT_S = 3600

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointValidation:
    """What Ray calls with each checkpoint that is to be validated."""

    settings: TrainSettings
    shards: Path
    """Folder of the shards on this machine, with tars or without."""
    data_digest: str
    """Of their manifest."""
    store_url: str | None
    """Where the tars are fetched from if they are not there; None for nowhere."""
    storage: RunStorage
    """Of the run's checkpoints, where the best generator is kept."""
    journal: Journal

    def __call__(self, checkpoint: Checkpoint, **kwargs: Any) -> dict[str, float]:  # noqa: ANN401 - Ray's signature
        """Measure a generator, log the result, and keep the generator if it is the best.

        Args:
            checkpoint: holds the generator.
            kwargs: `step`, the number of updates before it.
        """
        step: int = kwargs["step"]
        keep_freed_memory()
        torch.set_num_threads(self.settings.num_threads)
        store = None if self.store_url is None else Store(self.store_url)
        cache = self.settings.shard_cache
        with (
            shards_here(self.shards, self.data_digest, "test", store, cache) as shards,
            forwarded_warnings(self.journal),
            checkpoint.as_directory() as folder,
        ):
            validator = Validator(shards, self.settings, torch.device("cpu"))
            released = Path(folder) / RELEASED
            generator = load_generator(released)
            found = validator.validate(generator, step)
            keep_in_storage(self.storage, generator, read_config(released).provenance, found.record)
        add_validation(self.journal, found, validator.source_keys, self.settings)
        return found.metrics

    def config(self) -> ValidationConfig:
        """Return what tells Ray Train to validate so."""
        # On this machine, which has the manifest. No logical CPU: a task that waited for one would wait for
        # the training that it belongs to.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return ValidationConfig(
            fn=self,
            task_config=ValidationTaskConfig(timeout_s=TIMEOUT_S),
            ray_remote_kwargs={"num_cpus": 0, "scheduling_strategy": here},
        )

    def task(self, step: int) -> ValidationTaskConfig | bool:
        """Return the order to validate the checkpoint of `step`, or False if that is not due."""
        if not is_validation_due(step, self.settings):
            return False
        return ValidationTaskConfig(fn_kwargs={"step": step}, timeout_s=TIMEOUT_S)
