"""How much disk the checkpoints of a training take, told before it starts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lia_model.networks.build import build_discriminator, build_generator
from lia_model.settings import NetworkSettings, TrainSettings

_BYTES_PER_WEIGHT = 4


@dataclass(frozen=True)
class DiskUse:
    """The checkpoints of one run at their most."""

    checkpoint_bytes: int
    num_checkpoints: int

    @property
    def total_bytes(self) -> int:
        """Return the size of all of them."""
        return self.checkpoint_bytes * self.num_checkpoints

    def __str__(self) -> str:
        return (
            f"{self.num_checkpoints} checkpoints of {_gb(self.checkpoint_bytes)}, together "
            f"{_gb(self.total_bytes)}"
        )


def expected_disk_use(settings: TrainSettings, size_px: int) -> DiskUse:
    """Return what a run keeps: the newest, the best, the milestones, and the one that is being written."""
    milestones = settings.num_steps // settings.milestone_every_steps if settings.milestone_every_steps else 0
    return DiskUse(
        checkpoint_bytes(settings.network.at(size_px)), settings.num_kept_checkpoints + milestones + 2
    )


def checkpoint_bytes(network: NetworkSettings) -> int:
    """Return the size of a checkpoint, without computing or allocating any weight."""
    with torch.device("meta"):
        generator, discriminator = (
            _num_weights(build(network, 0)) for build in (build_generator, build_discriminator)
        )
    # Each network with two moments, the averaged generator, and the one for release.
    return _BYTES_PER_WEIGHT * (3 * (generator + discriminator) + 2 * generator)


def require_space(use: DiskUse, storage: Path, own: Path) -> None:
    """Check that the checkpoints of a run fit.

    Args:
        use: of the run.
        storage: folder that exists or will, on the disk of the checkpoints.
        own: folder of the run, whose present checkpoints are among those counted.

    Raises:
        ValueError: they do not.
    """
    existing = next(folder for folder in (storage, *storage.parents) if folder.is_dir())
    free_bytes = shutil.disk_usage(existing).free
    has_bytes = _size_bytes(own)
    if use.total_bytes - has_bytes > free_bytes:
        raise ValueError(
            f"the training keeps {use}; {storage} has {_gb(free_bytes)} free beside {_gb(has_bytes)} of this "
            "run: free space with `lia clean`, or lower train.num_kept_checkpoints or "
            "train.milestone_every_steps"
        )


def _size_bytes(folder: Path) -> int:
    """Return what the files of a folder take, each counted once however many names it has."""
    files = {}
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_file():
            status = path.stat()
            files[status.st_ino] = status.st_size
    return sum(files.values())


def _num_weights(module: nn.Module) -> int:
    return sum(value.numel() for value in module.state_dict().values())


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"
