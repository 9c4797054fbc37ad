import pytest
import torch

from lia_model.checkpoints.crop_record import read_crop
from lia_model.checkpoints.directory import read_config
from lia_model.checkpoints.published import to_published
from lia_model.checkpoints.published_keys import generator_keys, unused_generator_entries
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from pipelines.commands.checkpoints import run_export, run_import


@pytest.fixture
def published(tmp_path):
    network = NetworkSettings(size_px=32, width=0.03125, latent_dim=24, num_directions=5)
    state = to_published(
        build_generator(network, seed=1), generator_keys(32), unused_generator_entries(network)
    )
    torch.save({"gen": state, "args": {}}, tmp_path / "published.pt")
    return tmp_path / "published.pt"


def test_the_report_names_every_entry_that_is_not_used(published, tmp_path):
    told = run_import(published, tmp_path / "ours", None, tmp_path / "artifacts")
    assert "LIA at 32 px, width 0.03125, 5 directions" in told
    assert "  dec.to_rgb1.bias" in told
    assert told.endswith("not imported: args")
    assert "published format" in run_export(tmp_path / "ours", tmp_path / "back.pt")
    assert torch.load(tmp_path / "back.pt", weights_only=True)["gen"].keys()


def test_a_folder_that_is_no_checkpoint_is_not_overwritten(published, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("mine")
    with pytest.raises(ValueError, match="is not a checkpoint directory"):
        run_import(published, tmp_path / "precious", None, tmp_path / "artifacts")
    assert (tmp_path / "precious/file").read_text() == "mine"


def test_the_crop_rule_of_a_published_model_is_recorded(published, tmp_path):
    run_import(published, tmp_path / "faces", None, tmp_path / "artifacts")
    assert "crop" not in read_config(tmp_path / "faces").provenance
    run_import(published, tmp_path / "bodies", None, tmp_path / "artifacts", "body")
    assert read_crop(tmp_path / "bodies").rule == "body"
