"""A project with held-out people and models of known quality, for tests of what follows a training."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.networks.generator import Generator
from lia_model.registry import runs
from lia_model.settings import (
    EvaluateSettings,
    GoldenSettings,
    NetworkSettings,
    ReleaseSettings,
    ShardCacheSettings,
)
from pipelines.project_paths import ProjectPaths
from pipelines.stages.release import find_checkpoint
from preprocessing.sources.tombstones import HEADER
from tests.lia_model.evaluation_settings import evaluation_settings
from tests.lia_model.shards_on_disk import write_shards

NUM_PEOPLE = 5
FLAT = 170
"""Grey level of all driving frames; a model that paints it is the best."""


def make_project(root: Path) -> ProjectPaths:
    """Write shards whose held-out clips begin with noise and go on flat: copying the source is bad."""
    rng = np.random.default_rng(0)
    clips = []
    for person in range(NUM_PEOPLE):
        frames = np.full((8, 32, 32, 3), FLAT + person, np.uint8)
        frames[0] = rng.integers(0, 256, (32, 32, 3))
        clips.append(frames)
    write_shards(root / "data/shards", {"train": clips[:1], "test": clips}, 32)
    paths = ProjectPaths(root)
    paths.tombstones.write_text(f"{HEADER}\n")
    return paths


@dataclasses.dataclass
class CacheParams:
    """What a release reads of the section `train`."""

    shard_cache: ShardCacheSettings


@dataclasses.dataclass
class ReleaseParams:
    """The sections that a release reads."""

    release: ReleaseSettings
    evaluate: EvaluateSettings
    train: CacheParams


def release_params(name: str, models: Path, nowhere: Path) -> ReleaseParams:
    """Return settings without face metrics, since there are no faces in these clips, and without costs."""
    faces = {"detector": models / "scrfd", "models": nowhere, "min_score": 0.5, "max_num_frames_per_clip": 1}
    release = ReleaseSettings(
        name=name,
        allow_by_time=False,
        metric="l1",
        cost=None,
        golden=GoldenSettings(num_frames=2, max_difference=2.0),
    )
    cache = ShardCacheSettings(folder=str(nowhere / "cache"), max_bytes=1_000_000)
    return ReleaseParams(release, evaluation_settings(models, faces=faces), CacheParams(cache))


def painting(grey: float, width: float = 0.02) -> Generator:
    """Return a generator that paints one grey level, whatever it is shown."""
    network = NetworkSettings(size_px=32, width=width, latent_dim=16, num_directions=4)
    generator = build_generator(network, seed=1)
    with torch.no_grad():
        for block in generator.synthesis.blocks:
            block.to_rgb.conv.weight.zero_()
        generator.synthesis.blocks[-1].rgb_bias.fill_(grey / 127.5 - 1)
    return generator


def train(paths: ProjectPaths, run_name: str, grey: float) -> str:
    """Leave a model that paints one grey level as a training run does; return the run's id."""
    run = runs.open_run(run_name, paths.artifacts, {}, {})
    provenance = {"run_id": run.run_id, "commit": "abc", "data_digest": "d", "identity_disjoint": True}
    folder = paths.runs / "released" / run.run_id
    save_generator(folder, painting(grey), provenance)
    assert find_checkpoint(paths.checkpoints / "final", paths.runs, run.run_id) == folder
    return run.run_id
