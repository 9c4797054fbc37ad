import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry.run_journal import RunJournal
from lia_model.settings import NetworkSettings, TrainSettings
from lia_model.training.pairs.damage import Damage, DamagedFrame
from pipelines import presets
from pipelines.environment import read_environment
from pipelines.params import check_params
from pipelines.stages.train import run_train, write_curves
from pipelines.training_run import located, require_files, run_name
from preprocessing.shards.manifest import read_manifest
from preprocessing.storage.lease import held_lease
from tests.lia_model.shards_on_disk import make_manifest, write_shards


@pytest.fixture
def settings():
    return TrainSettings.model_validate(yaml.safe_load(presets.read_preset("demo"))["train"])


def test_a_run_is_named_by_what_decides_its_result(settings):
    name = run_name(settings, make_manifest(64))
    assert re.fullmatch("train-[0-9a-f]{12}", name)
    assert name == run_name(settings.model_copy(update={"num_steps": 7}), make_manifest(64))
    assert name != run_name(settings.model_copy(update={"seed": 1}), make_manifest(64))
    assert name != run_name(settings, make_manifest(32))


def test_a_run_has_the_same_name_in_another_checkout(settings, tmp_path):
    for checkout in ("a", "b"):
        (tmp_path / checkout / "models").mkdir(parents=True)
        (tmp_path / checkout / "models/vgg16.safetensors").write_text("weights")
    names = [run_name(located(settings, tmp_path / each), make_manifest(64)) for each in ("a", "b")]
    assert names[0] == names[1]


def test_paths_are_taken_from_the_project_and_init_from_is_resolved(settings, tmp_path):
    network = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    save_generator(tmp_path / "start", build_generator(network, seed=0))
    found = located(settings.model_copy(update={"init_from": "start"}), tmp_path)
    assert found.losses.perceptual.weights == tmp_path / "models/vgg16.safetensors"
    assert found.init_from == str((tmp_path / "start").resolve())
    with pytest.raises(ValueError, match="is neither a directory nor models"):
        located(settings.model_copy(update={"init_from": "gone"}), tmp_path)


def test_missing_weights_are_named_unless_their_term_is_left_out(settings, tmp_path):
    with pytest.raises(ValueError, match=r"train\.losses\.perceptual\.weights: .* run `lia fetch models`"):
        require_files(located(settings, tmp_path))
    content = settings.model_dump()
    content["losses"]["perceptual"]["weight"] = 0
    require_files(located(TrainSettings.model_validate(content), tmp_path))


def test_curves_hold_the_training_metrics_by_step_and_nothing_else(tmp_path):
    journal = RunJournal(tmp_path / "journal")
    journal.add_metrics(1, {"loss/l1": 0.5, "loss/r1": 2.0})
    journal.add_metrics(2, {"loss/l1": 0.25, "system/cpu_percent": 9.0})
    damage = Damage({DamagedFrame("a-clip", 3, "train/00000.tar", "not an image")}, 2)
    write_curves(tmp_path / "journal", tmp_path / "metrics", damage)
    with (tmp_path / "metrics/train.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"step": "1", "loss/l1": "0.5", "loss/r1": "2.0"},
            {"step": "2", "loss/l1": "0.25", "loss/r1": ""},
        ]
    last = json.loads((tmp_path / "metrics/train.json").read_text())
    assert last == {
        "step": 2,
        "loss/l1": 0.25,
        "loss/r1": 2.0,
        "damaged_frames": [
            {"clip": "a-clip", "frame": 3, "shard": "train/00000.tar", "reason": "not an image"}
        ],
        "num_replaced_pairs": 2,
    }


@pytest.fixture
def project(tmp_path):
    """Shards with one clip of 32 px."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    write_shards(tmp_path / "data/shards", {"train": [noise]}, 32)
    (tmp_path / "params.yaml").touch()
    return read_environment(tmp_path, {})


def params_with(**train):
    content = yaml.safe_load(presets.read_preset("demo"))
    content["train"]["losses"]["perceptual"]["weight"] = 0
    content["train"] |= train
    return check_params(content, Path("params.yaml"))


def test_a_run_that_another_process_trains_is_refused_before_anything_starts(project):
    params = params_with()
    name = run_name(located(params.train, project.paths.root), read_manifest(project.paths.shards))
    with (
        held_lease(project.paths.lease(name), "x"),
        pytest.raises(ValueError, match=f"^the run {name} is held by process {os.getpid()} on .* since "),
    ):
        run_train(params, project)
    assert not project.paths.journal(name).exists()


def test_a_start_of_other_networks_is_refused_before_anything_starts(project):
    other = NetworkSettings(size_px=64, width=0.02, latent_dim=16, num_directions=4)
    save_generator(project.paths.root / "start", build_generator(other, seed=0))
    with pytest.raises(
        ValueError, match=r"^train\.init_from = .*/start holds networks with width 0\.02, .* 64"
    ):
        run_train(params_with(init_from="start"), project)
    assert not project.paths.runs.exists()


@pytest.mark.parametrize("split", ["train", "test"])
def test_frames_of_another_size_are_refused_before_anything_starts(tmp_path, split):
    frames = {each: np.zeros((4, 32, 32, 3), np.uint8) for each in ("train", "test")}
    frames[split] = np.zeros((4, 48, 48, 3), np.uint8)
    write_shards(tmp_path / "data/shards", {each: [clip] for each, clip in frames.items()}, 32)
    (tmp_path / "params.yaml").touch()
    project = read_environment(tmp_path, {})
    with pytest.raises(
        ValueError, match=rf"/{split}/00000\.tar holds frames of 48x48 px, and the manifest says 32"
    ):
        run_train(params_with(validate_every_steps=50), project)
    assert not project.paths.runs.exists()


def test_a_profile_of_a_run_that_has_ended_is_refused_before_anything_starts(project):
    params = params_with(num_steps=100)
    name = run_name(located(params.train, project.paths.root), read_manifest(project.paths.shards))
    RunJournal(project.paths.journal(name)).add_checkpoint(100)
    with pytest.raises(ValueError, match=r"^got --profile with 0 steps left of 100; a trace needs 6: raise"):
        run_train(params, project, with_profile=True)
