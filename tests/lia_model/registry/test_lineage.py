import pytest

from lia_model.registry import aliases, models, runs
from lia_model.registry.lineage import pictures_showing, runs_trained_on


@pytest.fixture
def trained(open_run, version):
    """The registered run, trained on video `seen`; its evaluation shows a clip of `held`."""
    run = open_run("registered")
    run.log_source_keys(["seen"])
    return run


def test_a_video_leads_to_the_runs_trained_on_it_and_their_versions(trained, version, open_run):
    open_run("other").log_source_keys(["unseen"])
    (found,) = runs_trained_on(["seen", "never"])
    assert found.run_id == trained.run_id
    assert len(found.versions) == 1
    assert found.versions[0].startswith(f"lia-test {version} (")
    assert aliases.CHAMPION in found.versions[0]
    assert str(found) == f"run registered ({found.versions[0]})"
    assert models.version_of_run("lia-test", trained.run_id) == version


def test_a_video_no_run_was_trained_on_leads_nowhere(trained):
    assert runs_trained_on(["never"]) == []


def test_pictures_are_found_by_the_keys_in_their_names(trained, tmp_path):
    for name in ("held-00001.png", "free-00002.png"):
        (tmp_path / name).write_bytes(b"png")
        trained.log_file(tmp_path / name, runs.EVALUATION_PICTURES)
    (tmp_path / "evaluation.html").write_text("page")
    trained.log_file(tmp_path / "evaluation.html", runs.EVALUATION)
    (tmp_path / "lia-1.html").write_text("card")
    trained.log_file(tmp_path / "lia-1.html", runs.CARDS)
    assert pictures_showing(["held"], []) == {
        trained.run_id: [
            f"{runs.EVALUATION_PICTURES}/held-00001.png",
            f"{runs.EVALUATION}/evaluation.html",
            f"{runs.CARDS}/lia-1.html",
        ]
    }
    assert pictures_showing(["never"], []) == {}
    trained.delete_files([f"{runs.EVALUATION_PICTURES}/held-00001.png"])
    assert pictures_showing(["held"], []) == {}


def test_strips_of_a_run_trained_on_the_video_are_included(trained, tmp_path):
    (tmp_path / "strip.png").write_bytes(b"png")
    trained.log_file(tmp_path / "strip.png", runs.STRIPS)
    assert pictures_showing(["seen"], runs_trained_on(["seen"])) == {trained.run_id: [runs.STRIPS]}
