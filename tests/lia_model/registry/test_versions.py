import dataclasses

import pytest

from lia_model.registry import aliases, models
from lia_model.registry.versions import version_at, versions_of, versions_of_run


@pytest.fixture(scope="module")
def second(open_run, version, tmp_path_factory):
    """A later version of `lia-test` from another run, its challenger, refused by the gate."""
    from lia_model.checkpoints.directory import save_generator
    from lia_model.networks.build import build_generator
    from lia_model.settings import NetworkSettings

    folder = tmp_path_factory.mktemp("second") / "final"
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    save_generator(folder, build_generator(settings, seed=2), {})
    run = open_run("second")
    number = models.register("lia-test", folder, run.run_id, {"lia.commit": "def"})
    aliases.set_alias("lia-test", aliases.CHALLENGER, number)
    models.record_verdict("lia-test", number, {"lia.gate": "refused", "lia.gate_reason": "worse"}, "worse")
    return number


def test_versions_come_newest_first_with_their_aliases_and_the_verdict(version, second):
    newest, champion = versions_of("lia-test")
    assert (newest.version, newest.gate, newest.gate_reason) == (second, "refused", "worse")
    assert champion.version == version
    assert aliases.CHAMPION in champion.aliases
    assert newest.label == f"lia-test {second} (challenger)"
    assert newest.registered >= champion.registered


def test_a_version_that_the_gate_has_not_seen_is_not_judged(version, second):
    unseen = dataclasses.replace(versions_of("lia-test")[0], tags={})
    assert (unseen.gate, unseen.gate_reason) == ("not judged", "")


def test_an_alias_and_a_number_lead_to_their_version(version, second):
    assert version_at("models:/lia-test@challenger") == version_at(f"models:/lia-test/{second}")
    assert version_at("models:/lia-test@champion").version == version


@pytest.mark.parametrize("uri", ["models:/lia-test@nobody", "models:/lia-test/99"])
def test_an_unknown_alias_or_number_is_refused_and_the_known_ones_are_named(version, second, uri):
    with pytest.raises(ValueError, match=rf"registered are lia-test {second} \(challenger\), lia-test"):
        version_at(uri)


def test_an_unknown_model_is_refused_and_the_known_ones_are_named(version):
    with pytest.raises(ValueError, match=r"got model .nobody., which is not registered; .*lia-test"):
        versions_of("nobody")


def test_a_run_leads_to_its_versions(version, second, open_run):
    assert [one.version for one in versions_of_run(open_run("second").run_id)] == [second]
    assert versions_of_run(open_run("untrained").run_id) == []
