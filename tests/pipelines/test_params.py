from pathlib import Path

import pytest
import yaml

from pipelines import presets
from pipelines.params import check_params, read_params


def params_with(change: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return the demo recipe with dotted keys set; None as value removes the key."""
    content = yaml.safe_load(presets.read_preset("demo"))
    for dotted, value in change.items():
        *sections, key = dotted.split(".")
        section = content
        for name in sections:
            section = section[name]
        section[key] = value
    return content


def complaint(content: dict[str, dict[str, object]]) -> str:
    with pytest.raises(ValueError, match=r"^params\.yaml: ") as caught:
        check_params(content, Path("params.yaml"))
    return str(caught.value)


@pytest.mark.parametrize("name", presets.NAMES)
def test_every_preset_is_valid(name: str) -> None:
    check_params(yaml.safe_load(presets.read_preset(name)), Path(name))


def test_the_shipped_params_are_the_demo_preset() -> None:
    assert Path("params.yaml").read_text() == presets.read_preset("demo")


def test_a_misspelt_key_gives_one_line_with_the_nearest_key() -> None:
    content = params_with({})
    content["shards"]["crop"]["size_pixels"] = content["shards"]["crop"].pop("size_px")  # type: ignore[attr-defined]
    text = complaint(content)
    assert text == "params.yaml: shards.crop.size_pixels is not a key; did you mean shards.crop.size_px?"


def test_a_misspelt_key_in_an_optional_section_is_found_too() -> None:
    assert "train.losses.perceptual.wieght" in complaint(params_with({"train.losses.perceptual.wieght": 1}))


def test_a_key_that_names_no_loss_term_is_refused_with_the_known_ones() -> None:
    text = complaint(params_with({"train.losses.sharpness": {"weight": 1, "every_steps": 1}}))
    assert text.startswith("params.yaml: train.losses.sharpness names no loss term; known are adversarial,")


def test_a_key_like_no_other_lists_what_is_allowed() -> None:
    assert "allowed here: allow_by_time, cost, golden, metric, name" in complaint(
        params_with({"release.zzz": 1})
    )


def test_a_misspelt_section_is_named() -> None:
    assert "did you mean train?" in complaint(params_with({"trian": {}}))


def test_a_missing_key_is_named() -> None:
    content = params_with({})
    del content["train"]["seed"]
    assert "train.seed is missing: add it, or" in complaint(content)


def test_of_a_missing_key_that_takes_words_all_are_told() -> None:
    content = params_with({})
    del content["shards"]["hdr"]
    assert "shards.hdr is missing: add it (tone_map or refuse), or" in complaint(content)


def test_a_value_out_of_range_is_quoted() -> None:
    text = complaint(params_with({"train.num_steps": 0}))
    assert text.startswith("params.yaml: train.num_steps is 0: ")
    assert "\n" not in text


def test_a_file_that_is_not_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("train: [1,\nshards: }")
    with pytest.raises(ValueError, match="is not YAML") as caught:
        read_params(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lia preset demo"):
        read_params(tmp_path / "params.yaml")
