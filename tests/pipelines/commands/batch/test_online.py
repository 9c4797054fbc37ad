import csv
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lia_model.serving.client.errors import NoServiceError
from pipelines.commands.batch.online import run_online
from pipelines.commands.batch.rows import read_batch
from preprocessing.media.video_reader import decode, probe
from tests.lia_model.serving.live import LiveService, write_clip
from tests.ports import free_port

NUM_FRAMES = 3


def run_batch(manifest, output, endpoint, token=None, project=None):
    return run_online(read_batch(manifest), str(output), endpoint, token, project)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def results(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_row_gets_its_video_or_a_reason(root, endpoint, tmp_path):
    manifest = write(
        root / "batch.csv",
        "source,driving,mode",
        "face.mp4,face.mp4,",
        "gone.mp4,face.mp4,absolute",
        "wall.png,face.mp4,absolute",
        f"{tmp_path}/elsewhere.mp4,face.mp4,",
        "face.mp4,face.mp4,absolute",
    )
    output = root / "out"
    assert run_batch(manifest, output, endpoint, token="s3cret") == 1
    rows = results(output)
    assert [row["status"] for row in rows] == ["succeeded", "failed", "failed", "failed", "succeeded"]
    assert rows[0].keys() == {"source", "driving", "mode", "status", "output", "frames", "error"}
    assert [row["error"].split(":")[0] for row in rows[:3]] == ["", "not_found", "no_face"]
    assert "outside the folders that serve.batch_inputs names" in rows[3]["error"]
    for row in (rows[0], rows[4]):
        assert probe(output / row["output"]).num_frames == int(row["frames"]) == NUM_FRAMES
    assert rows[0]["output"] != rows[4]["output"]


def test_only_the_projects_own_service_gets_its_rows(root, endpoint, tmp_path):
    manifest = write(root / "own.csv", "source,driving", "face.mp4,gone.mp4")
    with pytest.raises(NoServiceError, match=f"service of another project at {endpoint}; rows go to .*copy"):
        run_batch(manifest, tmp_path / "out", endpoint, "s3cret", project=tmp_path / "copy")
    assert not (tmp_path / "out").exists()
    assert run_batch(manifest, tmp_path / "out", endpoint, "s3cret", project=root) == 1
    assert results(tmp_path / "out")[0]["error"]


def test_a_row_sets_any_option_of_an_animation(root, endpoint):
    manifest = write(
        root / "options.csv",
        "source,driving,face,side_by_side",
        "face.mp4,face.mp4,,true",
        "face.mp4,face.mp4,,",
        "face.mp4,face.mp4,7,",
    )
    output = root / "options"
    assert run_batch(manifest, output, endpoint, token="s3cret") == 1
    wide, plain, absent = results(output)
    assert list(wide)[:5] == ["source", "driving", "mode", "face", "side_by_side"]
    assert (wide["side_by_side"], plain["side_by_side"], absent["face"]) == ("true", "false", "7")
    assert probe(Path(wide["output"])).width_px == 3 * probe(Path(plain["output"])).width_px
    assert absent["error"].startswith("no_such_face: got face 7, but the source shows 1")


def test_a_rerun_skips_rows_that_succeeded(root, endpoint):
    Image.fromarray(np.asarray(next(decode(root / "face.mp4")).image)).save(root / "copy.png")
    manifest = write(root / "again.csv", "source,driving", "face.mp4,face.mp4", "late.png,face.mp4")
    output = root / "again"
    assert run_batch(manifest, output, endpoint, token="s3cret") == 1
    first = results(output)[0]["output"]
    written = (output / first).stat().st_mtime_ns
    (root / "copy.png").rename(root / "late.png")
    assert run_batch(manifest, output, endpoint, token="s3cret") == 0
    assert [row["status"] for row in results(output)] == ["succeeded", "succeeded"]
    assert (output / first).stat().st_mtime_ns == written


def test_without_a_service_the_error_says_how_to_start_one(root, tmp_path):
    manifest = write(root / "alone.csv", "source,driving", "face.mp4,face.mp4")
    with pytest.raises(NoServiceError, match="lia serve"):
        run_batch(manifest, tmp_path, f"http://127.0.0.1:{free_port()}")
    assert [row["status"] for row in results(tmp_path)] == ["missing"]


def test_the_error_of_a_wrong_token_names_its_variable(root, endpoint, tmp_path):
    manifest = write(root / "token.csv", "source,driving", "face.mp4,face.mp4")
    with pytest.raises(NoServiceError, match="LIA_API_TOKEN"):
        run_batch(manifest, tmp_path, endpoint, token="guess")


def test_a_foreign_results_file_is_not_overwritten(tmp_path):
    manifest = write(tmp_path / "batch.csv", "source,driving", "a.png,b.mp4")
    mine = write(tmp_path / "results.csv", "my,own,table")
    with pytest.raises(ValueError, match="not written by lia batch"):
        run_batch(manifest, tmp_path, "http://127.0.0.1:1")
    assert mine.read_text() == "my,own,table\n"


def test_one_bad_mode_fails_its_own_row_alone(root, endpoint):
    manifest = write(
        root / "modes.csv",
        "source,driving,mode",
        "face.mp4,face.mp4,sideways",
        "face.mp4,face.mp4,absolute",
        "face.mp4,,",
    )
    output = root / "modes"
    assert run_batch(manifest, output, endpoint, token="s3cret") == 1
    bad, good, empty = results(output)
    assert (bad["status"], bad["mode"], good["status"]) == ("failed", "sideways", "succeeded")
    assert "mode is 'sideways'; it is relative or absolute" in bad["error"]
    assert "driving is empty" in empty["error"]
    assert run_batch(manifest, output, endpoint, token="s3cret") == 1
    assert [row["status"] for row in results(output)] == ["failed", "succeeded", "failed"]


def test_a_run_after_an_interrupted_one_animates_nothing_twice(root, endpoint):
    manifest = write(
        root / "twice.csv", "source,driving,mode", "face.mp4,face.mp4,", "face.mp4,face.mp4,absolute"
    )
    output = root / "twice"
    assert run_batch(manifest, output, endpoint, token="s3cret") == 0
    first = results(output)
    written = [Path(row["output"]).stat().st_mtime_ns for row in first]
    # As a killed run leaves it: the service has the rows, results.csv does not know.
    (output / "results.csv").unlink()
    assert run_batch(manifest, output, endpoint, token="s3cret") == 0
    assert results(output) == first
    assert [Path(row["output"]).stat().st_mtime_ns for row in first] == written
    # A changed source, or a deleted result, is animated.
    (output / "results.csv").unlink()
    Path(first[0]["output"]).unlink()
    assert run_batch(manifest, output, endpoint, token="s3cret") == 0
    assert Path(first[1]["output"]).stat().st_mtime_ns == written[1]
    assert Path(first[0]["output"]).stat().st_mtime_ns > written[0]
    (output / "results.csv").unlink()
    (root / "face.mp4").touch()
    assert run_batch(manifest, output, endpoint, token="s3cret") == 0
    assert Path(first[1]["output"]).stat().st_mtime_ns > written[1]


def test_a_restart_of_the_service_does_not_end_the_client(tmp_path, caplog):
    write_clip(tmp_path / "clip.mp4")
    manifest = write(tmp_path / "jobs.csv", "source,driving,crop", *["clip.mp4,clip.mp4,false"] * 2)
    service, port = LiveService(tmp_path), free_port()
    outcome = []

    def run():
        outcome.append(run_batch(manifest, tmp_path / "out", f"http://127.0.0.1:{port}"))

    client = threading.Thread(target=run)
    with service.serving(port):
        client.start()
        wait_for(lambda: service.jobs.num_queued() == 1)
    wait_for(lambda: "trying again" in caplog.text)
    with service.serving(port), service.running():
        client.join(60)
    assert outcome == [0]
    assert [row["status"] for row in results(tmp_path / "out")] == ["succeeded", "succeeded"]


def wait_for(is_so):
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
