import json

import mlflow
import numpy as np
import pytest
import torch

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases, models, runs
from lia_model.settings import NetworkSettings, ReleaseSettings
from pipelines.project_paths import ProjectPaths
from pipelines.stages.release import find_checkpoint, pass_gate, register_once, run_rollback
from tests.lia_model.evaluation_settings import evaluation_settings
from tests.lia_model.shards_on_disk import write_shards

pytestmark = pytest.mark.slow
BY_TIME_ALLOWED = ReleaseSettings(name="gate", allow_by_time=True)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("release")
    uri = f"sqlite:///{root}/mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    clip = np.random.default_rng(0).integers(100, 156, (4, 32, 32, 3), dtype=np.uint8)
    write_shards(root / "data/shards", {"train": [clip], "test": [clip]}, 32)
    yield ProjectPaths(root)
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def evaluation(models):
    return evaluation_settings(models)


@pytest.fixture(scope="module")
def versions(paths):
    """Registered versions of a poor and of a better model: the second paints grey, like the clips."""
    made = {}
    for name in ("poor", "better"):
        network = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
        generator = build_generator(network, seed=1)
        if name == "better":
            with torch.no_grad():
                for block in generator.synthesis.blocks:
                    block.to_rgb.conv.weight.zero_()
        run = runs.open_run(name, paths.artifacts, {}, {})
        provenance = {"run_id": run.run_id, "commit": "abc", "data_digest": "d", "identity_disjoint": True}
        folder = paths.runs / "released" / run.run_id
        save_generator(folder, generator, provenance | {"crop": {}})
        assert find_checkpoint(paths.checkpoints / "final", paths.runs, run.run_id) == folder
        made[name] = register_once.fn(folder, "gate")
        assert register_once.fn(folder, "gate") == made[name]
    return made


def test_a_better_challenger_passes_and_a_worse_one_does_not(paths, evaluation, versions):
    poor, better = versions["poor"], versions["better"]
    passed = pass_gate.fn(BY_TIME_ALLOWED, better, poor, evaluation, paths.shards)
    assert passed.is_passed
    assert passed.tags["lia.replaced"] == poor
    assert float(passed.tags["lia.gate_l1"]) < float(passed.tags["lia.gate_champion_l1"])
    refused = pass_gate.fn(BY_TIME_ALLOWED, poor, better, evaluation, paths.shards)
    assert not refused.is_passed
    assert "not promoted: mean L1" in refused.reason
    assert not pass_gate.fn(BY_TIME_ALLOWED, better, better, evaluation, paths.shards).is_passed


def test_a_list_split_by_time_is_refused_outside_the_demo(paths, evaluation, versions):
    path = paths.shards / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"identity_disjoint": False}))
    settings = ReleaseSettings(name="gate", allow_by_time=False)
    verdict = pass_gate.fn(settings, versions["better"], None, evaluation, paths.shards)
    path.write_text(json.dumps(manifest))
    assert not verdict.is_passed
    assert "split by time" in verdict.reason


def test_rollback_returns_to_the_version_that_was_replaced(paths, versions):
    aliases.set_alias("gate", aliases.CHAMPION, versions["better"])
    models.tag_version("gate", versions["better"], {aliases.REPLACED_TAG: versions["poor"]})
    run_rollback("gate")
    assert aliases.version_of("gate", aliases.CHAMPION) == versions["poor"]
    with pytest.raises(ValueError, match="is the first champion"):
        run_rollback("gate")


def test_an_unknown_run_is_answered_with_the_known_ones(paths, versions):
    with pytest.raises(ValueError, match="left no model here; runs that did:"):
        find_checkpoint(paths.checkpoints / "final", paths.runs, "nothing")
