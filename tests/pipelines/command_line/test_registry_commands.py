"""`lia models` and `lia lineage` on a real MLflow store."""

import json

import mlflow
import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases, models, runs
from lia_model.serving.messages import ModelVersion
from lia_model.settings import NetworkSettings
from pipelines.commands.serve import licence_lines
from preprocessing.sources.source import source_key

URL = "https://videos.example/talk.mp4"


@pytest.fixture
def registered(lia, root, tmp_path):
    """A project whose model `lia` has one version, a refused challenger that was trained on one video."""
    (root / "data").mkdir()
    (root / "data/sources.csv").write_text(f"url,identity,split\n{URL},sitter,train\n")
    (root / "data/tombstones.csv").write_text("key,date\n")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    save_generator(tmp_path / "final", build_generator(settings, seed=1), {})
    run = runs.open_run("train-1", root / "mlartifacts", {"seed": 1}, {"lia.commit": "abc"})
    run.log_source_keys([source_key(URL)])
    version = models.register("lia", tmp_path / "final", run.run_id, {"lia.data_digest": "digest"})
    aliases.set_alias("lia", aliases.CHALLENGER, version)
    verdict = {
        "lia.gate": "refused",
        "lia.gate_reason": "not promoted: it is worse",
        "lia.licence_data": "CC0 (1 video)",
    }
    models.record_verdict("lia", version, verdict, "")
    yield run
    mlflow.set_tracking_uri(before)


@pytest.mark.slow
def test_versions_and_lineage_are_told_both_ways(lia, registered):
    listed = lia("models")
    assert listed.code == 0
    head, row = listed.out.splitlines()
    assert head.split() == ["version", "aliases", "registered", "gate", "served", "at", "reason"]
    assert row.startswith("1        challenger  ")
    assert row.endswith("not promoted: it is worse")
    (record,) = json.loads(lia("models", "--json").out)
    assert (record["aliases"], record["gate"], record["served_at"]) == (["challenger"], "refused", None)

    made_of = lia("lineage", "models:/lia@challenger")
    assert f"source           {source_key(URL)} {URL}" in made_of.out.splitlines()
    document = json.loads(lia("lineage", "models:/lia/1", "--json").out)
    assert "data: CC0 (1 video)" in made_of.out
    assert document["licences"] == {"data": "CC0 (1 video)"}
    assert licence_lines(ModelVersion(name="lia", version="1")) == [
        "licence of lia version 1, data: CC0 (1 video)"
    ]
    assert (document["commit"], document["data_digest"]) == ("abc", "digest")
    assert document["run"] == {"id": registered.run_id, "name": "train-1"}
    assert document["params"] == {"seed": "1"}
    assert document["sources"] == [{"key": source_key(URL), "url": URL, "forgotten": False}]

    for name in (URL, "sitter", source_key(URL)):
        went_to = json.loads(lia("lineage", "--source", name, "--json").out)
        assert went_to["videos"] == {source_key(URL): URL}
        assert went_to["runs"] == [
            {"id": registered.run_id, "name": "train-1", "versions": ["lia 1 (challenger)"]}
        ]
    assert "nobody" in lia("lineage", "--source", "nobody").error
    assert lia("lineage", "models:/lia@champion").error.startswith("got models:/lia@champion; there is no")
    assert lia("models", "--name", "other").error.startswith("got model 'other', which is not registered")


def test_a_model_and_a_source_are_not_asked_for_at_once(lia):
    for arguments in ((), ("models:/lia/1", "--source", "sitter")):
        assert lia("lineage", *arguments).error.startswith("got a model and --source, or neither")
