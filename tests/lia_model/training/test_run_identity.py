import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.settings import TrainSettings
from lia_model.training.run_identity import DECISIVE, FREE, identity_digest, run_identity
from tests.lia_model.shards_on_disk import make_manifest


def digest(settings, size_px=32):
    return identity_digest(run_identity(settings, make_manifest(size_px)))


def test_every_setting_is_either_decisive_or_free():
    # Decide for a new setting: does another value of it make another run?
    assert set(TrainSettings.model_fields) == DECISIVE | FREE
    assert not DECISIVE & FREE


OTHERS = {
    "num_workers": (1, 2),
    "num_threads": 7,
    "use_gpu": True,
    "deterministic": True,
    "compile": True,
    "num_steps": 1000,
    "log_every_steps": 17,
    "strip_every_steps": 17,
    "checkpoint_every_steps": 17,
    "num_kept_checkpoints": 17,
    "milestone_every_steps": 51,
    "validate_every_steps": 17,
    "seed": 5,
    "global_batch_size": 40,
    "micro_batch_size": 2,
    "pairs_per_visit": 4,
    "precision": "bf16",
    "ema_decay": 0.5,
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_decisive_setting_changes_the_run_and_a_free_one_does_not(train_settings, name):
    changed = train_settings.model_copy(update={name: OTHERS[name]})
    assert (digest(changed) != digest(train_settings)) == (name in DECISIVE)


def test_settings_within_a_group_and_the_shards_change_the_run(train_settings):
    optimizer = train_settings.optimizer.model_copy(update={"decay_steps": 9})
    assert digest(train_settings.model_copy(update={"optimizer": optimizer})) != digest(train_settings)
    assert digest(train_settings, size_px=64) != digest(train_settings)


def with_weights(settings, path):
    perceptual = settings.losses.perceptual.model_copy(update={"weights": path})
    losses = settings.losses.model_copy(update={"perceptual": perceptual})
    return settings.model_copy(update={"losses": losses})


def test_a_file_counts_by_its_content(train_settings, tmp_path):
    for name, content in (("here", "a"), ("elsewhere", "a"), ("other", "b")):
        (tmp_path / name).write_text(content)
    here, elsewhere, other = (
        digest(with_weights(train_settings, tmp_path / name)) for name in ("here", "elsewhere", "other")
    )
    assert here == elsewhere
    assert here != other


def test_a_start_counts_by_its_weights(train_settings, network, tmp_path):
    for folder, seed in (("here", 0), ("elsewhere", 0), ("other", 1)):
        # The provenance of a checkpoint does not matter.
        save_generator(tmp_path / folder, build_generator(network, seed), {"run_name": folder})
    here, elsewhere, other = (
        digest(train_settings.model_copy(update={"init_from": str(tmp_path / name)}))
        for name in ("here", "elsewhere", "other")
    )
    assert here == elsewhere
    assert len({here, other, digest(train_settings)}) == 3
