from datetime import date

import mlflow
import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.data.pair_list import write_pair_list
from lia_model.evaluation.champion.check import Limits
from lia_model.registry.models import resolve
from lia_model.registry.runs import Run
from lia_model.registry.versions import version_at
from pipelines.deployments.champion import check_champion, frozen_list
from pipelines.stages import release
from pipelines.stages.release import run_release
from preprocessing.ledger import ClipRow, write_clips
from preprocessing.sources.tombstones import add_tombstones
from tests.pipelines.released_models import FLAT, make_project, painting, release_params, train

pytestmark = pytest.mark.slow


def clip(number, source_key, yaw_deg):
    return ClipRow(
        key=f"{source_key}-{number}",
        row_key=source_key,
        source_key=source_key,
        url="",
        outcome="kept",
        identity=source_key,
        yaw_deg=yaw_deg,
    )


@pytest.fixture(scope="module")
def champion(tmp_path_factory, models):
    """Paths, settings and the champion of a project with 20 clips that it was trained on and 10 new ones."""
    root = tmp_path_factory.mktemp("champion")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    paths, params = (
        make_project(root),
        release_params("lia", models, root / "nowhere"),
    )
    run_id = train(paths, "run", FLAT)
    Run(run_id).log_source_keys(["seen"])
    with pytest.MonkeyPatch.context() as patch:
        # A flow starts a server of its own; the test of the deployments runs it.
        patch.setattr(release, "release_flow", release.release_checkpoint)
        assert run_release(params, paths, run_id).is_champion
    rows = [clip(number, "seen", float(number)) for number in range(20)]
    rows += [clip(number, "new", 60.0 + number) for number in range(10)]
    paths.ledger.mkdir(parents=True)
    write_clips(paths.ledger / "clips.parquet", rows)
    yield paths, params.evaluate, version_at("models:/lia@champion")
    mlflow.set_tracking_uri(before)


def test_a_champion_is_measured_on_its_list_and_on_the_present_clips_and_new_clips_are_compared(champion):
    paths, settings, version = champion
    check = check_champion(version, settings, paths, paths.shards)
    assert check.frozen is not None
    assert check.present is not None
    assert check.frozen["l1"].mean == pytest.approx(check.at_release, abs=1e-6)
    assert check.present["l1"] == check.frozen["l1"]
    (yaw,) = [each for each in check.shifts if each.name == "yaw_deg"]
    assert (yaw.distance, yaw.num_clips, yaw.num_new) == (1.0, 20, 10)
    assert (check.num_people, check.num_new_people) == (1, 1)


def test_a_champion_trained_on_a_video_taken_down_or_with_other_files_is_a_problem(champion):
    paths, settings, version = champion
    limits = Limits(max_loss=1, max_shift=1)
    fine = check_champion(version, settings, paths, paths.shards)
    assert fine.problems(limits) == []
    video, before = "a" * 40, paths.tombstones.read_text()
    run = Run(version.run_id)
    run.log_source_keys(["seen", video])
    directory = resolve(version.uri).directory
    try:
        add_tombstones(paths.tombstones, [video], date(2026, 11, 26))
        save_generator(directory, painting(FLAT - 20), {})
        changed = check_champion(version, settings, paths, paths.shards)
    finally:
        paths.tombstones.write_text(before)
        run.log_source_keys(["seen"])
        save_generator(directory, painting(FLAT), {})
    problems = changed.problems(limits)
    assert problems[0].startswith(f"it was trained on video {video}, which was taken down: train again")
    assert problems[1].startswith("models:/lia/1 gives another result for its golden pair")
    assert f"- **{problems[0]}**" in changed.report(limits)


def test_a_list_that_is_not_the_one_it_was_judged_on_is_refused(champion, tmp_path):
    *_, version = champion
    listed = frozen_list(version)
    write_pair_list(listed.model_copy(update={"pairs": listed.pairs[:-1]}), tmp_path / "evaluation_list.json")
    Run(version.run_id).log_file(tmp_path / "evaluation_list.json", "release")
    with pytest.raises(ValueError, match="is not the one it was judged on"):
        frozen_list(version)
