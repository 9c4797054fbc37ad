"""Rows animated without a service, in this process; the real Ray runs in test_twenty_pairs."""

import os
import shutil
from contextlib import ExitStack, closing

import pytest

from lia_model.animation.options import AnimationOptions
from lia_model.registry.models import resolve
from pipelines.commands.batch.command import open_batch
from pipelines.commands.batch.places import upload, version_of
from pipelines.commands.batch.results import kept_results
from pipelines.commands.batch.row_animator import RowAnimator, RowSettings
from pipelines.commands.batch.rows import BatchRow
from pipelines.params import read_params
from preprocessing.media.video_reader import probe
from tests.pipelines.commands.batch.batch_project import NUM_FRAMES


def settings_of(project, output):
    params = read_params(project.root / "params.yaml")
    return RowSettings(params, project.root, resolve(project.root / "tiny"), str(output))


@pytest.fixture(scope="module")
def animator(project):
    with closing(RowAnimator(settings_of(project, project.root / "rows"))) as animator:
        yield animator


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


def row_of(project, source="face.png", driving="face.mp4", **options):
    return BatchRow(
        str(project.root / source), str(project.root / driving), AnimationOptions.model_validate(options)
    )


def test_a_row_is_animated_once_until_something_it_is_made_of_changes(project, animator):
    shutil.copyfile(project.root / "face.png", project.root / "own.png")
    row = row_of(project, "own.png", side_by_side=True)
    first = animator.animate(row)
    assert (first.is_new, first.row.status, first.row.frames) == (True, "succeeded", NUM_FRAMES)
    assert probe(project.root / first.row.output).width_px == 3 * 32
    again = animator.animate(row)
    assert (again.is_new, again.row) == (False, first.row)
    os.utime(project.root / "own.png")
    assert animator.animate(row).is_new
    # A video of another origin under the row's name is not taken for its result.
    shutil.copyfile(project.root / "face.mp4", first.row.output)
    assert animator.animate(row).is_new
    assert probe(project.root / first.row.output).width_px == 3 * 32


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"source": "gone.png"}, "not_found: there is no file "),
        ({"source": "wall.png"}, "no_face: got no face in the source file wall.png"),
        ({"driving": "params.yaml"}, "unreadable_media: got params.yaml, which is neither"),
        ({"face": 7}, "no_such_face: got face 7, but the source shows 1"),
    ],
)
def test_a_row_that_cannot_be_animated_fails_with_the_reason_of_the_service(
    project, animator, changes, error
):
    outcome = animator.animate(row_of(project, **changes))
    assert (outcome.row.status, outcome.row.output) == ("failed", "")
    assert outcome.row.error.startswith(error)


def test_an_unexpected_error_fails_its_own_row_alone(project, caplog):
    (project.root / "file").write_text("in the way of a folder")
    with closing(RowAnimator(settings_of(project, project.root / "file"))) as animator:
        outcome = animator.animate(row_of(project))
    assert outcome.row.error.startswith("internal: ")
    assert "failed unexpectedly" in caplog.text


@pytest.mark.slow
def test_a_bucket_is_animated_into_a_bucket(project, s3, monkeypatch, stack):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, s3[name])
    base = f"{s3['LIA_STORE_URL']}/animate"
    for name in ("face.png", "face.mp4", "wall.png"):
        upload(project.root / name, f"{base}/{name}")
    upload(
        project.write(
            "bucket.csv", "source,driving", *(f"{name}.png,face.mp4" for name in ("face", "wall", "gone"))
        ),
        f"{base}/jobs.csv",
    )
    output = f"{base}/out"
    rows = open_batch(f"{base}/jobs.csv")
    assert rows[0].source == f"{base}/face.png"
    animator = stack.enter_context(closing(RowAnimator(settings_of(project, output))))
    with kept_results(rows, output) as results:
        outcomes = [animator.animate(row) for row in results.missing()]
        results.update(outcome.row for outcome in outcomes)
    made, wall, gone = (outcome.row for outcome in outcomes)
    assert wall.error.startswith("no_face: got no face in the source file wall.png;")
    assert gone.error == f"not_found: there is no file {base}/gone.png"
    assert made.output.startswith(f"{output}/face_by_face_")
    assert (made.status, made.frames) == ("succeeded", NUM_FRAMES)
    with kept_results(rows, output) as results:
        assert [row.source for row in results.missing()] == [wall.source, gone.source]
        assert results.exit_code() == 1
    # The results are lost, the video is recognised.
    version = version_of(made.output)
    again = animator.animate(rows[0])
    assert (again.is_new, again.row) == (False, made)
    assert version_of(made.output) == version
