import json
import logging
import os
import re
import shutil

import numpy as np
import pytest
import torch

from lia_model.checkpoints.best import BEST, read_best
from lia_model.checkpoints.crop_record import read_crop
from lia_model.checkpoints.directory import load_generator, read_config
from lia_model.checkpoints.file_hashes import HASHES
from lia_model.data.sharded_clips import ShardedClips
from lia_model.training.folder_run import main, train_directory
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.state import new_state, save_state
from lia_model.training.validation.validator import Validator
from preprocessing.shards.manifest import CropFacts, data_digest, read_manifest, write_manifest
from preprocessing.storage.lease import held_lease
from tests.lia_model.shards_on_disk import damage_frame, write_shards

CPU = torch.device("cpu")


@pytest.fixture
def shards(tmp_path):
    clips = list(np.random.default_rng(0).integers(0, 256, (3, 5, 32, 32, 3), dtype=np.uint8))
    write_shards(tmp_path / "shards", {"train": clips}, 32)
    return tmp_path / "shards"


def test_a_folder_trains_alone_and_resumes(shards, train_settings, tmp_path, caplog):
    def train_folder(folder, num_steps):
        settings = train_settings.model_copy(update={"num_steps": num_steps, "log_every_steps": 1})
        (folder / "train.json").write_text(settings.model_dump_json())
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="lia_model.training.folder_run"):
            final = train_directory(folder)
        return final, [record.args[0] for record in caplog.records if record.msg == "step %d %s"]

    manifest = read_manifest(shards)
    write_manifest(
        shards, manifest.model_copy(update={"crop": CropFacts(rule="body", scale=2, outside="drop")})
    )
    final, steps = train_folder(shards.parent, 6)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert read_config(final).provenance["train"]["num_steps"] == 6
    assert read_crop(final) == read_manifest(shards).crop
    resumed, steps = train_folder(shards.parent, 8)
    assert steps == [7, 8]
    assert {path.name for path in (shards.parent / "checkpoints/steps").glob("step-*")} == {
        "step-00000006",
        "step-00000008",
    }
    shutil.copytree(shards, tmp_path / "undisturbed/shards")
    undisturbed, _ = train_folder(tmp_path / "undisturbed", 8)
    assert torch.equal(load_generator(resumed).motion.free, load_generator(undisturbed).motion.free)


def test_a_checkpoint_of_an_earlier_version_without_hashes_is_still_read(shards, train_settings):
    state = new_state(train_settings, 32, CPU)
    run(state, build_loader(ShardedClips(shards, "train"), train_settings), train_settings, Hooks())
    old = shards.parent / "checkpoints/latest"
    save_state(state, old, {})
    (old / HASHES).unlink()
    settings = train_settings.model_copy(update={"num_steps": 6})
    (shards.parent / "train.json").write_text(settings.model_dump_json())
    # Nothing is left to do, so the result is what was read.
    final = load_generator(train_directory(shards.parent))
    assert torch.equal(final.motion.free, state.average.motion.free)


def test_shards_that_are_not_those_of_the_manifest_are_refused(shards, train_settings):
    damage_frame(shards, 1, 2, is_listed=False)
    (shards.parent / "train.json").write_text(train_settings.model_dump_json())
    with pytest.raises(ValueError, match=r"00000\.tar has the sha256"):
        train_directory(shards.parent)


def write_settings(folder, settings, **changes):
    values = settings.model_copy(update=changes)
    (folder / "train.json").write_text(values.model_dump_json())


def test_the_provenance_is_complete(shards, train_settings):
    write_settings(shards.parent, train_settings)
    provenance = read_config(train_directory(shards.parent)).provenance
    manifest = read_manifest(shards)
    assert len(provenance["run_id"]) == 32
    assert provenance["run_name"].startswith("folder-")
    assert provenance["commit"]
    assert provenance["data_digest"] == data_digest(manifest)
    assert (provenance["identity_disjoint"], provenance["fps"]) == (True, 25)
    assert provenance["train"]["num_steps"] == 6
    again = read_config(train_directory(shards.parent)).provenance
    assert again == provenance


def test_changed_settings_and_data_are_refused_by_name_and_free_ones_are_not(shards, train_settings):
    folder = shards.parent
    write_settings(folder, train_settings, num_steps=3)
    train_directory(folder)
    write_settings(folder, train_settings, seed=5, ema_decay=0.5)
    with pytest.raises(
        ValueError, match=r"trained otherwise \(ema_decay 0\.9 -> 0\.5; seed 0 -> 5\): restore"
    ):
        train_directory(folder)
    write_settings(folder, train_settings, num_threads=2, log_every_steps=1, num_kept_checkpoints=1)
    train_directory(folder)
    manifest = read_manifest(shards)
    write_manifest(shards, manifest.model_copy(update={"fps": 24}))
    with pytest.raises(ValueError, match=r"trained otherwise \(shards \w+ -> \w+\)"):
        train_directory(folder)


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, caplog):
    for arguments in ([], [str(tmp_path)]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
    assert caplog.messages[0].startswith("usage: ")
    assert "train.json does not exist: write the `train` section" in caplog.messages[1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_stepz": 3}, "num_stepz: no such key"),
        ({"micro_batch_size": 3}, "got micro_batch_size 3 and global_batch_size 4; the first has to divide"),
        ({"num_steps": 0}, "num_steps: Input should be greater than or equal to 1"),
        pytest.param(
            {"use_gpu": True},
            "got device cuda, but torch",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there"),
        ),
    ],
)
def test_settings_that_cannot_be_are_told_in_one_line(shards, train_settings, caplog, changes, told):
    content = train_settings.model_dump(mode="json") | changes
    (shards.parent / "train.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit) as end:
        main([str(shards.parent)])
    assert end.value.code == 2
    (line,) = (message for message in caplog.messages if told in message)
    assert "\n" not in line


@pytest.mark.parametrize("split", ["train", "test"])
def test_frames_of_another_size_are_told_in_one_line(tmp_path, train_settings, caplog, split):
    frames = {each: np.zeros((4, 32, 32, 3), np.uint8) for each in ("train", "test")}
    frames[split] = np.zeros((4, 48, 48, 3), np.uint8)
    write_shards(tmp_path / "shards", {each: [clip] for each, clip in frames.items()}, 32)
    write_settings(tmp_path, train_settings, validate_every_steps=3)
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path)])
    assert end.value.code == 2
    (line,) = caplog.messages
    assert f"{split}/00000.tar holds frames of 48x48 px, and the manifest says 32x32: make" in line
    assert "\n" not in line
    assert not (tmp_path / "checkpoints").exists()


def test_a_file_of_settings_that_is_cut_short_is_told_in_one_line(shards, caplog):
    (shards.parent / "train.json").write_text('{"seed": 0,')
    with pytest.raises(SystemExit) as end:
        main([str(shards.parent)])
    assert end.value.code == 2
    (line,) = caplog.messages
    assert "train.json: Invalid JSON" in line
    assert "\n" not in line


def test_a_folder_that_another_process_trains_on_is_refused_in_one_line(shards, train_settings, caplog):
    folder = shards.parent
    write_settings(folder, train_settings, num_steps=1)
    with held_lease(folder / "lease.json", "x"), pytest.raises(SystemExit) as end:
        main([str(folder)])
    assert end.value.code == 2
    (line,) = [line for line in caplog.messages if "is held by" in line]
    assert re.fullmatch(
        rf"the run in {folder} is held by process {os.getpid()} on \S+ since \S+ \S+ UTC; one process at a "
        rf"time may work on it: wait for it or stop it, or, if it is gone, remove {folder}/lease\.json",
        line,
    )
    assert not (folder / "checkpoints").exists()
    train_directory(folder)
    assert not (folder / "lease.json").exists()


def flat_clips(*greys):
    return [np.full((4, 32, 32, 3), grey, np.uint8) for grey in greys]


def test_after_a_divergence_the_best_weights_are_released(tmp_path, train_settings, models):
    """The learning rate is raised far once the run has learned; the weights before that are released."""
    write_shards(tmp_path / "shards", {"train": flat_clips(60, 200), "test": flat_clips(80, 180)}, 32)
    quiet = {"validate_every_steps": 10, "checkpoint_every_steps": 10, "log_every_steps": 10}
    write_settings(tmp_path, train_settings, num_steps=20, **quiet)
    train_directory(tmp_path)
    good = read_best(tmp_path / "checkpoints")
    assert good.step in (10, 20)
    # The same run goes on with a rate that destroys its weights; what it recorded is rewritten to match.
    rate = train_settings.optimizer.model_copy(update={"generator_lr": 1.0})
    write_settings(tmp_path, train_settings, num_steps=40, optimizer=rate, **quiet)
    pretend_it_was_so(tmp_path / "checkpoints/steps", "optimizer", "generator_lr", 1.0)
    final = train_directory(tmp_path)
    best = read_best(tmp_path / "checkpoints")
    assert best == good
    assert read_config(final).provenance["validation"]["step"] == good.step
    kept = load_generator(tmp_path / "checkpoints" / BEST)
    assert torch.equal(load_generator(final).motion.free, kept.motion.free)
    last = load_generator(tmp_path / "checkpoints/steps/step-00000040")
    assert not torch.allclose(last.motion.free, kept.motion.free, atol=1e-2)
    assert (tmp_path / "checkpoints/validation/validation_same_person.png").is_file()


def pretend_it_was_so(steps, section, name, value):
    """Change a recorded setting of every checkpoint, and forget its hashes."""
    for config in steps.glob("step-*/config.json"):
        content = json.loads(config.read_text())
        content["provenance"]["identity"][section][name] = value
        config.write_text(json.dumps(content))
        (config.parent / HASHES).unlink()


def test_a_new_run_in_an_old_folder_forgets_the_best_of_the_old_one(tmp_path, train_settings):
    write_shards(tmp_path / "shards", {"train": flat_clips(60, 200), "test": flat_clips(80)}, 32)
    write_settings(tmp_path, train_settings, num_steps=3, validate_every_steps=3)
    train_directory(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints/steps")
    write_settings(tmp_path, train_settings, num_steps=2, validate_every_steps=0)
    train_directory(tmp_path)
    assert read_best(tmp_path / "checkpoints") is None


def test_a_run_that_is_killed_in_its_last_validation_repeats_it(tmp_path, train_settings, monkeypatch):
    write_shards(tmp_path / "shards", {"train": flat_clips(60, 200), "test": flat_clips(80)}, 32)
    write_settings(tmp_path, train_settings, num_steps=3, validate_every_steps=3)
    with monkeypatch.context() as patch:
        patch.setattr(Validator, "validate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_directory(tmp_path)
    assert read_config(train_directory(tmp_path)).provenance["validation"]["step"] == 3


def interrupted(*_):
    """End the process, as somebody may at any time."""
    raise KeyboardInterrupt


def test_without_held_out_clips_the_last_weights_are_released_and_that_is_said_once(
    shards, train_settings, caplog
):
    write_settings(shards.parent, train_settings, validate_every_steps=3)
    final = train_directory(shards.parent)
    assert "validation" not in read_config(final).provenance
    assert (
        len([line for line in caplog.messages if "holds no test clips, so nothing is validated" in line]) == 1
    )


def test_a_profile_is_in_the_folder_of_the_run_which_stays_the_same_run(shards, train_settings, caplog):
    folder = shards.parent

    def train_for(num_steps, *options):
        settings = train_settings.model_copy(update={"num_steps": num_steps})
        (folder / "train.json").write_text(settings.model_dump_json())
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="lia_model.training.folder_run"):
            main([*options, str(folder)])
        return caplog.text

    told = train_for(6, "--profile")
    (trace,) = (folder / "profile").iterdir()
    assert f"a trace of some steps is in {trace}: open it at https://ui.perfetto.dev" in told
    assert "resuming at step 6" in train_for(8)
    with pytest.raises(SystemExit):
        train_for(10, "--profile")
    assert "got --profile with 2 steps left of 10" in caplog.text
