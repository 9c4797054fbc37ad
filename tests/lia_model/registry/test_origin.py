import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import models, runs
from lia_model.registry.origin import origin_of
from lia_model.settings import NetworkSettings


@pytest.fixture(scope="module")
def trained(open_run, version):
    """The run behind the champion of `lia-test`, with data and an evaluation."""
    run = open_run("registered")
    run.log_source_keys(["one", "two"])
    run.log_metrics(0, {"evaluate/l1": 0.25, "loss/l1": 9.0})
    runs.log_dataset(run, "shards", "digest", "data/shards", {"clips": 2})
    return run


@pytest.fixture(scope="module")
def child(open_run, trained, tmp_path_factory):
    """The checkpoint of a run that started from the champion's."""
    run = open_run("child")
    run.set_tags({runs.PARENT_TAG: trained.run_id})
    folder = tmp_path_factory.mktemp("child") / "final"
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    save_generator(folder, build_generator(settings, seed=3), {"run_id": run.run_id, "commit": "fed"})
    return folder


def test_a_version_leads_to_commit_data_settings_sources_and_what_was_measured(trained, version):
    found = origin_of("models:/lia-test@champion")
    assert found.uri == f"models:/lia-test/{version}"
    assert (found.run_id, found.run_name) == (trained.run_id, "registered")
    assert (found.commit, found.data_digest) == ("abc", "digest")
    assert found.params["network.width"] == "0.5"
    assert found.metrics == {"evaluate/l1": 0.25}
    assert found.source_keys == ("one", "two")
    assert found.parent is None


def test_a_checkpoint_leads_to_its_run_and_the_version_it_started_from(child, trained, version):
    found = origin_of(str(child))
    assert (found.version, found.run_name, found.commit) == (None, "child", "fed")
    assert found.parent is not None
    assert found.parent.uri == f"models:/lia-test/{version}"
    assert found.parent.source_keys == ("one", "two")


def test_a_checkpoint_of_another_store_tells_what_it_records_itself(store, tmp_path):
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    provenance = {"run_id": "0" * 32, "run_name": None, "commit": "abc", "data_digest": "digest"}
    save_generator(tmp_path / "final", build_generator(settings, seed=4), provenance)
    found = origin_of(str(tmp_path / "final"))
    assert (found.run_id, found.commit, found.data_digest) == (None, "abc", "digest")
    assert (found.source_keys, found.params) == ((), {})


@pytest.mark.parametrize("uri", ["models:/lia-test/99", "nowhere"])
def test_what_does_not_exist_is_refused(store, version, uri):
    with pytest.raises(ValueError, match=uri):
        origin_of(uri)
    assert models.version_tag("lia-test", version, "lia.commit") == "abc"
