"""Whole sources through real worker processes."""

import hashlib
import os
import shutil
import threading
import time

import psutil
import pytest

from preprocessing.clips import source_run as clip
from preprocessing.clips.source_run import SourceTask
from preprocessing.clips.units import group_into_units, process_here


@pytest.fixture
def make_job(models, make_source, shards_settings, tmp_path):
    def make(video, url="http://127.0.0.1:1/v.mp4", settings=shards_settings, **changes):
        sha256 = hashlib.sha256(video.read_bytes()).hexdigest() if video.is_file() else "0"
        return SourceTask(
            source=make_source(url, **changes),
            video=video,
            video_sha256=sha256,
            root=models.parent,
            settings=settings,
            tracks=tmp_path / "tracks",
            clips=tmp_path / "clips",
        )

    return make


@pytest.fixture
def copy(samples, tmp_path):
    return shutil.copy(samples / "single_face.mp4", tmp_path / "face.mp4")


def process(jobs, told=None):
    results = process_here(
        group_into_units(jobs, 4, lambda task: task.source), 1, (told if told is not None else []).append
    )
    return {result.row_key: result for result in results}


def with_crop(settings, **changes):
    return settings.model_copy(update={"crop": settings.crop.model_copy(update=changes)})


def with_quality(settings, **changes):
    return settings.model_copy(update={"quality": settings.quality.model_copy(update=changes)})


def test_another_threshold_needs_no_video(make_job, copy, shards_settings):
    task = make_job(copy)
    ((before,),) = [result.rows for result in process([task]).values()]
    copy.unlink()
    strict = with_quality(shards_settings, min_sharpness=before.sharpness + 1)
    ((row,),) = [result.rows for result in process([task.model_copy(update={"settings": strict})]).values()]
    assert (before.label, row.label) == ("kept", "filtered(blurry)")
    # And back: its frames were thrown away with the threshold, so they must be cut anew.
    ((row,),) = [result.rows for result in process([task]).values()]
    assert (row.outcome, row.retryable) == ("failed", False)


def test_another_size_needs_no_detector(make_job, copy, shards_settings, monkeypatch):
    task = make_job(copy)
    first = clip.process_source(task)
    monkeypatch.setattr(clip, "_detector", lambda task: pytest.fail("detected faces again"))
    small = task.model_copy(update={"settings": with_crop(shards_settings, size_px=32)})
    second = clip.process_source(small)
    assert [one.clip.size_px for one in (*first.prepared, *second.prepared)] == [64, 32]
    assert first.prepared[0].clip.crop_box == second.prepared[0].clip.crop_box


def test_one_source_added_to_many_is_processed_alone(make_job, samples, make_video, tmp_path):
    many = [
        make_job(make_video(tmp_path / f"{number}.mp4", [90] * 8), f"http://a.org/{number}.mp4")
        for number in range(5)
    ]
    process(many)
    stored = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    new = make_job(samples / "single_face.mp4", "http://a.org/new.mp4")
    results = process([*many, new])
    assert len(results) == 6
    assert stored == {path: path.stat().st_mtime_ns for path in stored}
    changed = {path for path in tmp_path.rglob("*") if path.is_file() and path not in stored}
    assert {path.stem.removesuffix(".json").split("-")[0] for path in changed if path.suffix == ".npz"} == {
        new.source.row_key.split("-")[0]
    }


def test_a_video_that_kills_its_worker_costs_itself_alone(make_job, samples, tmp_path):
    """Opening a pipe that nobody writes to takes for ever, so that there is time to kill."""
    os.mkfifo(tmp_path / "bad.mp4")
    bad = make_job(tmp_path / "bad.mp4", "http://a.org/bad.mp4")
    good = make_job(samples / "single_face.mp4", "http://a.org/good.mp4")

    def workers():
        # A process of another test that has ended and was not waited for has no command any more.
        alive = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
        return [one for one in alive if clip.__name__ in one.cmdline()]

    assert not workers(), "an earlier run left its worker behind"

    def kill():
        while not (found := workers()):
            time.sleep(0.05)
        # It has loaded nothing by then or all; either way it dies over the first request.
        found[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    first, second = process_here([[bad, good]], 1, lambda result: None)
    killer.join()
    assert [row.outcome for row in second.rows] == ["kept"]
    (row,) = first.rows
    assert (row.outcome, row.retryable) == ("failed", True)
    assert row.error.startswith("processing ended with code -9")


def test_a_full_disk_ends_the_run_in_one_line_and_half_writes_nothing(
    make_job, samples, tmp_path, run_on_small_disk
):
    task = make_job(samples / "single_face.mp4")
    (tmp_path / "task.json").write_text(task.model_dump_json())
    program = (
        "import pathlib, sys\n"
        "from preprocessing.clips.source_run import SourceTask\n"
        "from preprocessing.clips.units import DiskError, process_here\n"
        "task = SourceTask.model_validate_json(pathlib.Path(sys.argv[1]).read_text())\n"
        "try:\n"
        "    process_here([[task]], 1, print)\n"
        "except DiskError as error:\n"
        "    print(error)\n"
        "    print([path.name for path in task.clips.rglob('*')])\n"
    )
    error, left = run_on_small_disk(program, task.clips, "100k", tmp_path / "task.json")
    assert "No space left on device" in error
    assert "make room or permit writing, then rerun" in error
    assert left == "[]"
