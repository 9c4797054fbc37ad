"""Does it learn? Ten minutes on puppets, whose true answers are known (`make drill`)."""

import json

import numpy as np
import pytest
from PIL import Image

from lia_model.checkpoints.directory import save_generator
from tests.drills import puppet_training as puppets

pytestmark = pytest.mark.drill


def test_motion_passes_from_one_puppet_to_another(drill_folder, tmp_path):
    state, curve = puppets.train(puppets.write_puppets(tmp_path / "shards"), puppets.SETTINGS.num_steps)
    unseen = puppets.draw_unseen()
    errors = {
        "model": puppets.l1(puppets.transfer(state.average, unseen), unseen.answer),
        "copy_source": puppets.l1(unseen.source, unseen.answer),
        "copy_driving": puppets.l1(unseen.driving, unseen.answer),
    }
    factors = puppets.factor_correlations(state.average, unseen)
    found = {"transfer_l1": errors, "factors": factors, "curve": curve}
    (drill_folder / "puppets.json").write_text(json.dumps(found, indent=1) + "\n")
    save_generator(
        drill_folder / "puppets", state.average, {"train": puppets.SETTINGS.model_dump(mode="json")}
    )
    Image.fromarray(puppets.picture(state.average, unseen)).save(drill_folder / "puppets.png")
    print(json.dumps({"transfer_l1": errors, "factors": factors}, indent=1))  # noqa: T201 - the drill's log
    assert errors["model"] < 0.6 * errors["copy_source"]
    assert errors["model"] < 0.25 * errors["copy_driving"]
    assert {name for name, each in factors.items() if each["direction"] > 0.6} >= {"yaw", "pitch", "roll"}
    expected = puppets.read_expected_curve()
    for step, (lowest, highest) in expected.items():
        if step in curve:
            assert lowest <= curve[step] <= highest, f"step {step}"
    assert np.mean(list(curve.values())[-10:]) < 0.5 * curve[100]
