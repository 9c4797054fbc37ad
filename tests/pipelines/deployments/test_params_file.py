import pytest
import yaml

from pipelines import presets
from pipelines.deployments.params_file import override_params
from pipelines.params import read_params

PRESETS = ("demo", "vox256", "taichi256", "ted384", "vox256-bf16")


@pytest.fixture
def path(tmp_path):
    presets.write_preset("demo", tmp_path / "params.yaml")
    return tmp_path / "params.yaml"


def test_a_setting_is_changed_and_all_else_stays(path):
    before = path.read_text()
    override_params(path, {"train.seed": 7, "download.proxy": None, "shards.jpeg_quality": 90})
    assert read_params(path).train.seed == 7
    changed = set(path.read_text().splitlines()) - set(before.splitlines())
    assert {line.strip() for line in changed if "perceptual" not in line} == {"seed: 7", "jpeg_quality: 90"}
    assert path.read_text().count("#") == before.count("#")


@pytest.mark.parametrize("preset", PRESETS)
def test_values_and_comments_of_every_recipe_survive(tmp_path, preset):
    path = tmp_path / "params.yaml"
    presets.write_preset(preset, path)
    before = path.read_text()
    override_params(path, {})
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(before)
    assert [line for line in path.read_text().splitlines() if "#" in line] == [
        line for line in before.splitlines() if "#" in line
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.sed": 1}, r"train\.sed is not a key; did you mean train\.seed\?"),
        ({"train.seed": -1}, r"train\.seed is -1: .*; correct it"),
        ({"nothing.seed": 1}, r"got the override 'nothing\.seed', but params\.yaml has no section 'nothing'"),
        ({"train.seed.low": 1}, r"has no section 'train\.seed'"),
    ],
)
def test_a_bad_override_is_refused_and_changes_nothing(path, overrides, message):
    before = path.read_text()
    with pytest.raises(ValueError, match=message):
        override_params(path, {"shards.jpeg_quality": 90, **overrides})
    assert path.read_text() == before
