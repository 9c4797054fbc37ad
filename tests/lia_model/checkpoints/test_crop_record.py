import json

import pytest

from lia_model.checkpoints.crop_record import UNRECORDED, read_crop
from lia_model.checkpoints.directory import CONFIG, save_generator
from preprocessing.shards.manifest import CropFacts


def test_the_recorded_crop_comes_back(generator, tmp_path):
    crop = CropFacts(rule="body", scale=1.5, outside="drop")
    save_generator(tmp_path / "model", generator, {"crop": crop.model_dump()})
    assert read_crop(tmp_path / "model") == crop


@pytest.mark.parametrize("provenance", [{}, {"crop": {}}, {"imported_from": "vox.pt"}])
def test_a_checkpoint_without_a_record_is_one_of_faces(generator, tmp_path, provenance):
    save_generator(tmp_path / "model", generator, provenance)
    assert read_crop(tmp_path / "model") == UNRECORDED
    assert (UNRECORDED.rule, UNRECORDED.scale) == ("fomm_square", 1.2)


@pytest.mark.parametrize("change", [{"rule": "feet"}, {"mirror": True}])
def test_a_crop_that_is_unknown_here_is_refused_by_name(generator, tmp_path, change):
    save_generator(tmp_path / "model", generator, {"crop": UNRECORDED.model_dump()})
    config = json.loads((tmp_path / "model" / CONFIG).read_text())
    config["provenance"]["crop"] |= change
    (tmp_path / "model" / CONFIG).write_text(json.dumps(config))
    (name,) = change
    with pytest.raises(ValueError, match=rf"config.json records crop.{name} .*; update this installation"):
        read_crop(tmp_path / "model")
