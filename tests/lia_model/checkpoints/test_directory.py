import json

import pytest
import torch

from lia_model.checkpoints import directory
from lia_model.checkpoints.directory import load_generator, read_config, save_generator


def test_a_generator_comes_back_as_it_was(generator, tmp_path):
    save_generator(tmp_path / "model", generator, {"run_id": "abc"})
    loaded = load_generator(tmp_path / "model")
    source = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(loaded(source), generator(source), atol=0, rtol=0)
    assert read_config(tmp_path / "model").provenance == {"run_id": "abc"}
    assert not loaded.training


def test_a_checkpoint_holds_no_pickle(generator, tmp_path):
    save_generator(tmp_path / "model", generator)
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == [
        "config.json",
        "generator.safetensors",
    ]


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is not a checkpoint directory: it has no config\.json"):
        load_generator(tmp_path)


def test_weights_of_another_network_are_refused_with_the_first_wrong_name(generator, tmp_path):
    save_generator(tmp_path / "model", generator)
    config = tmp_path / "model" / "config.json"
    text = config.read_text().replace('"latent_dim": 16', '"latent_dim": 24')
    config.write_text(text)
    with pytest.raises(
        ValueError, match=r"does not fit this Generator: .* of another shape \(first: encoder"
    ):
        load_generator(tmp_path / "model")


def test_a_newer_format_is_refused(generator, tmp_path):
    save_generator(tmp_path / "model", generator)
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"format_version": 99}))
    with pytest.raises(ValueError, match="format version 99"):
        load_generator(tmp_path / "model")


def test_a_damaged_weights_file_is_named(generator, tmp_path):
    save_generator(tmp_path / "model", generator)
    (tmp_path / "model" / "generator.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"generator\.safetensors is not a safetensors file"):
        load_generator(tmp_path / "model")


def test_an_interrupted_writer_leaves_the_old_checkpoint(generator, tmp_path, monkeypatch):
    save_generator(tmp_path / "model", generator, {"number": 1})

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(directory, "save_tensors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_generator(tmp_path / "model", generator, {"number": 2})
    assert load_generator(tmp_path / "model").settings == generator.settings
    assert read_config(tmp_path / "model").provenance == {"number": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


SAVE = """
import sys
from pathlib import Path
import torch
from lia_model.checkpoints.directory import save_tensors
path = Path(sys.argv[1]) / "a.safetensors"
for size in (1000, 100_000):
    try:
        save_tensors({"one": torch.zeros(10), "two": torch.zeros(size)}, path)
        print("written")
    except OSError as error:
        print(error.strerror)
"""


def test_a_full_disk_is_an_error_of_the_disk(tmp_path, run_on_small_disk):
    assert run_on_small_disk(SAVE, tmp_path / "disk", "64k", tmp_path / "disk") == [
        "written",
        "No space left on device",
    ]
