from pathlib import Path

import pytest
import yaml

from pipelines import presets


def test_a_written_preset_holds_no_own_values(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    for name in presets.NAMES:
        presets.write_preset(name, path)
        assert not presets.has_own_values(path)


def test_an_edit_counts_as_own_values(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    presets.write_preset("demo", path)
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    assert presets.has_own_values(path)


def test_the_recipe_in_bf16_differs_from_the_published_one_in_precision_alone() -> None:
    published, other = (yaml.safe_load(presets.read_preset(name)) for name in ("vox256", "vox256-bf16"))
    for settings in (published["train"], published["train"]["losses"]["perceptual"]):
        assert settings["precision"] == "fp32"
        settings["precision"] = "bf16"
    assert other == published


def test_an_unknown_recipe_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose one of demo, vox256, vox256-bf16, taichi256, ted384"):
        presets.write_preset("vox512", tmp_path / "params.yaml")
    assert list(tmp_path.iterdir()) == []
