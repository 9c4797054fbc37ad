import dataclasses

import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases, models
from lia_model.registry.versions import version_at, versions_of, versions_of_run
from lia_model.settings import NetworkSettings

NAME = "lia-versions"
"""A model of these tests alone: others move the aliases of theirs."""


@pytest.fixture(scope="module")
def registered(open_run, tmp_path_factory):
    """Two versions of one checkpoint: the champion, and the challenger, which the gate has refused."""
    folder = tmp_path_factory.mktemp("versions") / "final"
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    save_generator(folder, build_generator(settings, seed=2), {})
    first, second = (
        models.register(NAME, folder, open_run(run).run_id, {}) for run in ("version one", "version two")
    )
    aliases.set_alias(NAME, aliases.CHAMPION, first)
    aliases.set_alias(NAME, aliases.CHALLENGER, second)
    models.record_verdict(NAME, second, {"lia.gate": "refused", "lia.gate_reason": "worse"}, "worse")
    return first, second


def test_versions_come_newest_first_with_their_aliases_and_the_verdict(registered):
    newest, champion = versions_of(NAME)
    assert (champion.version, newest.version) == registered
    assert (newest.aliases, newest.gate, newest.gate_reason) == (("challenger",), "refused", "worse")
    assert (champion.aliases, champion.gate, champion.gate_reason) == (("champion",), "not judged", "")
    assert newest.label == f"{NAME} {newest.version} (challenger)"
    assert newest.registered >= champion.registered


def test_a_version_without_aliases_is_labelled_by_its_number(registered):
    plain = dataclasses.replace(versions_of(NAME)[0], aliases=())
    assert plain.label == f"{NAME} {plain.version}"


def test_an_alias_and_a_number_lead_to_their_version(registered):
    first, second = registered
    assert version_at(f"models:/{NAME}@challenger") == version_at(f"models:/{NAME}/{second}")
    assert version_at(f"models:/{NAME}@champion").version == first


@pytest.mark.parametrize("wanted", ["@nobody", "/99"])
def test_an_unknown_alias_or_number_is_refused_and_the_known_ones_are_named(registered, wanted):
    first, second = registered
    known = rf"registered are {NAME} {second} \(challenger\), {NAME} {first} \(champion\)"
    with pytest.raises(ValueError, match=known):
        version_at(f"models:/{NAME}{wanted}")


def test_an_unknown_model_is_refused_and_the_known_ones_are_named(registered):
    with pytest.raises(ValueError, match=rf"got model 'nobody', which is not registered; .*{NAME}"):
        versions_of("nobody")


def test_a_run_leads_to_its_versions(registered, open_run):
    _, second = registered
    assert [one.version for one in versions_of_run(open_run("version two").run_id)] == [second]
    assert versions_of_run(open_run("untrained").run_id) == []
