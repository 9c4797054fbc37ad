import json
from datetime import date

import mlflow
import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases, models, runs
from lia_model.registry.golden_pair import GoldenPairError
from lia_model.serving.messages import ModelVersion
from lia_model.settings import CostSettings, NetworkSettings
from pipelines.commands.serve import check_golden_pair
from pipelines.stages import release
from pipelines.stages.release import find_checkpoint, run_release, run_rollback
from preprocessing.shards.manifest import data_digest, read_manifest
from preprocessing.sources.tombstones import add_tombstones
from tests.pipelines.released_models import FLAT, NUM_PEOPLE, make_project, painting, release_params, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("release")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    yield make_project(root)
    mlflow.set_tracking_uri(before)


@pytest.fixture(autouse=True)
def _without_prefect(monkeypatch):
    """A flow starts a server of its own; the end-to-end tests run it."""
    monkeypatch.setattr(release, "release_flow", release.release_checkpoint)


@pytest.fixture
def name(request):
    """A registered name for each test."""
    return request.node.name[:60]


@pytest.fixture
def params(models, name, tmp_path):
    return release_params(name, models, tmp_path)


@pytest.fixture
def trained(paths, name):
    """Function `(run name, grey) -> run id` that leaves a model as a training run does."""
    return lambda run_name, grey: train(paths, f"{name} {run_name}", grey)


def test_only_what_beats_copying_and_then_the_champion_is_promoted_and_a_rollback_undoes_it(
    paths, name, params, trained
):
    poor = run_release(params, paths, trained("poor", 0))
    assert not poor.is_champion
    assert "not better than doing nothing: L1 0." in poor.text
    assert f"name models:/{name}@challenger" in poor.text
    assert aliases.version_of(name, aliases.CHAMPION) is None
    with pytest.raises(ValueError, match=r"no version of .* is champion; version 1 is challenger \(not prom"):
        models.resolve(f"models:/{name}@champion")

    first = run_release(params, paths, trained("first", FLAT - 30))
    assert first.is_champion
    assert "no version was champion before" in first.text
    assert "not compared: AKD: " in first.text

    again = run_release(params, paths, trained("first", FLAT - 30))
    assert (again.version, again.verdict) == (first.version, None)
    assert "is champion already" in again.text

    worse = run_release(params, paths, trained("worse", FLAT - 40))
    assert not worse.is_champion
    assert f"not certainly better than champion version {first.version}: L1 " in worse.text
    assert aliases.version_of(name, aliases.CHAMPION) == first.version

    better = run_release(params, paths, trained("better", FLAT))
    assert better.is_champion
    assert f"of champion version {first.version} (difference -0." in better.text
    entry = runs.mlflow_client().get_model_version(name, better.version)
    assert f"{better.verdict.reason}." in entry.description
    assert entry.tags["lia.gate_reason"] == better.verdict.reason
    assert aliases.version_of(name, aliases.CHAMPION) == better.version

    run_rollback(name, paths.tombstones, "eyes drift")
    tags = models.version_tags(name, better.version)
    assert tags["lia.rolled_back"].endswith(f"UTC, to version {first.version}: eyes drift")
    assert aliases.version_of(name, aliases.CHAMPION) == first.version
    with pytest.raises(ValueError, match="is the first champion"):
        run_rollback(name, paths.tombstones)


@pytest.fixture
def take_down(paths):
    """Function that writes a tombstone; they are taken back afterwards."""
    before = paths.tombstones.read_text()
    yield lambda key: add_tombstones(paths.tombstones, [key], date(2026, 11, 26))
    paths.tombstones.write_text(before)


def test_a_model_trained_on_a_video_that_was_taken_down_is_refused(paths, name, params, trained, take_down):
    video = "a" * 40
    run_id = trained("forgotten", FLAT)
    runs.Run(run_id).log_source_keys([video, "b" * 40])
    take_down("c" * 40)
    assert run_release(params, paths, run_id).is_champion
    better = trained("clean", FLAT + 2)
    runs.Run(better).log_source_keys(["b" * 40])
    aliases.set_alias(name, aliases.CHAMPION, run_release(params, paths, better).version)
    models.tag_version(name, "2", {aliases.REPLACED_TAG: "1"})

    take_down(video)
    refused = run_release(params, paths, run_id)
    assert refused.verdict.reason == (
        f"not promoted: it was trained on video {video}, which was taken down: train again on the present "
        "shards, which no longer hold it"
    )
    assert models.version_tag(name, "1", "lia.gate") == "refused"
    with pytest.raises(ValueError, match=f"{name}/1 was trained on video a+, which was taken down, so"):
        run_rollback(name, paths.tombstones)
    assert aliases.version_of(name, aliases.CHAMPION) == "2"

    take_down("b" * 40)
    with pytest.raises(release.ForgottenSourceError, match="version 2 is champion and was trained on"):
        run_release(params, paths, better)


def test_the_list_and_the_verdict_are_kept_with_the_run(paths, params, trained):
    run_id = trained("first", FLAT)
    done = run_release(params, paths, run_id)
    kept = mlflow.artifacts.load_dict(f"runs:/{run_id}/release/verdict.json")
    assert kept["reason"] == done.verdict.reason
    assert kept["evidence"]["copying"]["l1"]["num_people"] == NUM_PEOPLE
    pairs = mlflow.artifacts.load_dict(f"runs:/{run_id}/release/evaluation_list.json")
    assert {pair["protocol"] for pair in pairs["pairs"]} == {"reconstruction"}


def test_time_and_memory_are_measured_beside_the_champions_and_limited(paths, name, params, trained):
    champion = run_release(params, paths, trained("first", FLAT - 30))
    assert champion.is_champion
    limits = CostSettings(num_frames=4, num_rounds=3, max_latency_ratio=1, max_memory_ratio=1)
    params.release = params.release.model_copy(update={"cost": limits})
    wide_id = trained("wide", FLAT)
    provenance = {"run_id": wide_id, "commit": "abc", "data_digest": "d", "identity_disjoint": True}
    save_generator(paths.runs / "released" / wide_id, painting(FLAT, width=1.0), provenance)
    wide = run_release(params, paths, wide_id)
    assert not wide.is_champion
    assert "slower than the champion: latency " in wide.verdict.reason
    assert "takes more memory than the champion: peak memory " in wide.verdict.reason
    entry = runs.mlflow_client().get_model_version(name, wide.version)
    assert float(entry.tags["lia.gate_latency_ms"]) > float(entry.tags["lia.gate_champion_latency_ms"]) > 0
    assert "times the champion's" in entry.description


def test_a_registered_version_that_is_not_what_was_trained_is_refused(paths, name, params, trained, tmp_path):
    run_id = trained("whole", 0)
    assert "not better than doing nothing" in run_release(params, paths, run_id).text
    tags = models.version_tags(name, "1")
    (kept,) = runs.Run(run_id).file_names(runs.GOLDEN)
    assert tags["lia.golden"] == kept == f"golden/{name}-1--test-0--test-0.safetensors"

    # As if the upload had been damaged.
    save_generator(models.resolve(f"models:/{name}/1").directory, painting(200), {"run_id": run_id})
    served = ModelVersion(name=name, version="1"), models.resolve(f"models:/{name}/1").directory, tmp_path
    with pytest.raises(GoldenPairError, match="do not use it"):
        check_golden_pair(*served)
    refused = run_release(params, paths, run_id)
    assert (refused.version, refused.is_champion) == ("1", False)
    assert "models:/" in refused.verdict.reason
    assert "gives another result for its golden pair" in refused.verdict.reason


def test_the_card_is_the_description_and_a_file_of_the_run(paths, name, params, trained, tmp_path):
    run_id = trained("carded", FLAT)
    done = run_release(params, paths, run_id)
    entry = runs.mlflow_client().get_model_version(name, done.version)
    assert entry.description.startswith(f"# {name} version 1\n")
    assert "No evaluation of these weights is on record" in entry.description
    assert entry.tags["lia.licence_features"] == "not recorded"
    run = runs.Run(run_id)
    text = run.fetch_file(f"{runs.CARDS}/{name}-1.md", tmp_path).read_text()
    assert text == entry.description
    assert f"models:/{name}/1" in run.fetch_file(f"{runs.CARDS}/{name}-1.html", tmp_path).read_text()


def test_a_continued_run_registers_its_new_weights(paths, name, params, trained):
    first = run_release(params, paths, trained("same run", 0))
    later = run_release(params, paths, trained("same run", FLAT))
    assert (first.version, later.version) == ("1", "2")
    assert "lia.worse_than_copying" in runs.mlflow_client().get_model_version(name, "1").tags


def test_an_earlier_verdict_leaves_no_tags(paths, name, params, trained, change_manifest):
    change_manifest({"identity_disjoint": False})
    refused = run_release(params, paths, trained("run", FLAT))
    assert "split by time" in refused.verdict.reason
    models.tag_version(name, "1", {"lia.worse_than_copying": "left", "lia.other": "kept"})
    change_manifest({"identity_disjoint": True})
    assert run_release(params, paths, trained("run", FLAT)).is_champion
    tags = runs.mlflow_client().get_model_version(name, "1").tags
    assert "lia.worse_than_copying" not in tags
    assert (tags["lia.gate"], tags["lia.other"]) == ("passed", "kept")


@pytest.fixture
def change_manifest(paths):
    def change(values):
        path = paths.shards / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def test_without_the_weights_of_lpips_that_is_said_and_l1_decides(paths, params, trained, tmp_path):
    params.evaluate = params.evaluate.model_copy(update={"lpips": tmp_path / "none"})
    done = run_release(params, paths, trained("first", FLAT))
    assert done.is_champion
    assert "better than copying the source in L1, and" in done.verdict.reason
    assert "not compared: LPIPS: " in done.text


def test_a_model_of_another_size_is_not_promoted(paths, params, trained, tmp_path):
    run_id = trained("first", FLAT)
    large = build_generator(NetworkSettings(size_px=64, width=0.02, latent_dim=16, num_directions=4))
    save_generator(paths.runs / "released" / run_id, large, {"run_id": run_id})
    done = run_release(params, paths, run_id)
    assert "challenger makes 64 px images, the shards hold 32 px" in done.verdict.reason


def test_a_model_trained_without_mlflow_gets_a_run_with_its_sources(paths, name, params):
    manifest = read_manifest(paths.shards)
    provenance = {"run_id": "0" * 32, "run_name": "bare", "data_digest": data_digest(manifest)}
    save_generator(paths.checkpoints / "final", painting(FLAT), provenance)
    assert run_release(params, paths).is_champion
    assert run_release(params, paths).verdict is None
    entry = runs.mlflow_client().get_model_version(name, "1")
    run = runs.Run(str(entry.run_id))
    assert run.source_keys() == {"train-0"}
    assert runs.mlflow_client().get_run(run.run_id).info.run_name == "bare"


def test_an_unknown_run_is_answered_with_the_known_ones(paths, trained):
    trained("one", FLAT)
    with pytest.raises(ValueError, match="left no model here; runs that did:"):
        find_checkpoint(paths.checkpoints / "final", paths.runs, "nothing")
