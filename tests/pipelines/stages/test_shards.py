"""The stages download and shards as a user runs them, on a list with good and bad sources."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import pytest

from pipelines.params import read_params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.shards import source_tasks
from pipelines.stages.shards_requirements import require_boxes
from preprocessing.ledger import Download, SourceRow, read_clip_rows, read_source_rows, write_sources
from preprocessing.outcome import DownloadStatus
from preprocessing.sources.source import Source, source_key
from tests.conftest import CHECKOUT, Project


@pytest.fixture(scope="module")
def prefect(new_project):
    """The variable that leads commands to a Prefect server; starting one takes longer than a stage."""
    project = new_project("prefect")
    project.run("lia", "up", "prefect")
    return {"LIA_PREFECT_API_URL": f"http://127.0.0.1:{project.variables['LIA_PREFECT_PORT']}/api"}


@pytest.mark.slow
def test_bad_sources_are_accounted_for_and_the_good_one_becomes_shards(new_project, samples_url, prefect):
    project = new_project(
        "shards",
        sources=[
            f"{samples_url}/single_face.mp4,train",
            f"{samples_url}/no_face.mp4,auto",
            f"{samples_url}/none.mp4,auto",
            "none.mp4,auto",
        ],
    )
    project.variables.update(prefect)
    stopped = project.run("lia", "download", succeeds=False)
    assert "line 5: got url 'none.mp4'" in stopped.stderr
    assert not (project.root / "data/raw").exists()
    project.set_params({"download.bad_rows": "skip"})
    done = project.run("lia", "download")
    assert "skipped: line 5: got url 'none.mp4'" in done.stdout + done.stderr
    project.run("lia", "shards")
    states = {
        row.source.url.removeprefix(f"{samples_url}/"): row.download.status
        for row in read_source_rows(project.root / "data/ledger/sources.parquet")
    }
    assert states == {
        "single_face.mp4": "verified",
        "no_face.mp4": "verified",
        "none.mp4": "permanent",
        "none.mp4,auto": "invalid",
    }
    clips = read_clip_rows(project.root / "data/ledger/clips.parquet")
    assert sorted(row.label for row in clips) == ["filtered(no_face)", "kept"]
    manifest = json.loads((project.root / "data/shards/manifest.json").read_text())
    assert manifest["counts"]["frames"] == {"train": 60, "test": 0}
    # Nothing is lost between the list and the counts.
    assert sum(manifest["counts"]["sources"].values()) == 4
    assert sum(manifest["counts"]["clips"].values()) == len(clips)
    assert {row.row_key for row in clips} == {
        row.source.row_key
        for row in read_source_rows(project.root / "data/ledger/sources.parquet")
        if row.download.status == "verified"
    }
    assert (project.root / "data/shards/report.html").is_file()


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(3), marks=pytest.mark.slow, id="three moments"),
        pytest.param(range(3, 13), marks=pytest.mark.drill, id="ten moments"),
    ],
)
def test_killed_at_any_moment_a_rerun_ends_as_if_undisturbed(new_project, samples_url, prefect, seeds):
    names = ("single_face.mp4", "no_face.mp4")
    project = new_project("killed", sources=[f"{samples_url}/{name},train" for name in names])
    project.variables.update(prefect)
    project.run("lia", "download")
    started = time.monotonic()
    project.run("lia", "shards")
    took_s = time.monotonic() - started
    wanted = written(project.root)
    for seed in seeds:
        for name in ("shards", "clips", "tracks"):
            shutil.rmtree(project.root / "data" / name)
        process = subprocess.Popen(
            ["lia", "shards"],
            cwd=project.root,
            env=project.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Starting takes the first part; what is read and written comes after.
        time.sleep(took_s * random.Random(seed).uniform(0.4, 1.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        project.run("lia", "shards")
        assert written(project.root) == wanted, seed


@pytest.mark.slow
def test_a_failure_that_may_pass_makes_the_stage_incomplete_and_is_summed(new_project, samples_url, prefect):
    names = [f"{samples_url}/{name},train" for name in ("single_face.mp4", "no_face.mp4")]
    project = new_project("incomplete", sources=names)
    project.variables.update(prefect)
    project.run("lia", "download")
    # One source is finished; the other runs out of time.
    project.run("lia", "shards")
    for folder in (project.root / "data/clips", project.root / "data/tracks"):
        for path in folder.glob(f"{source_key(f'{samples_url}/no_face.mp4')}-*"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    project.set_params({"shards.timeout_s": 0.01})
    stopped = project.run("lia", "shards", succeeds=False)
    assert stopped.returncode == 1
    lines = (stopped.stdout + stopped.stderr).splitlines()
    (summed,) = (line for line in lines if "1 failed (a rerun may succeed): processing " in line)
    assert summed.endswith(
        f"raise shards.timeout_s if the source needs longer; such as {samples_url}/no_face.mp4"
    )
    assert "set download.accept_incomplete to true" in stopped.stderr.splitlines()[-1]
    manifest = project.root / "data/shards/manifest.json"
    assert not json.loads(manifest.read_text())["complete"]
    assert "raise shards.timeout_s" in (project.root / "data/shards/report.html").read_text()

    project.set_params({"download.accept_incomplete": True})
    project.run("lia", "shards")
    project.set_params({"download.accept_incomplete": False, "shards.timeout_s": 600})
    project.run("lia", "shards")
    assert json.loads(manifest.read_text())["complete"]


def listed(url, status=DownloadStatus.VERIFIED, **facts):
    return SourceRow(Source(url=url, key=source_key(url), **facts), Download(status=status))


def crop_settings(rule):
    crop = read_params(CHECKOUT / "params.yaml").shards.crop
    return crop.model_copy(update={"rule": rule})


@pytest.mark.parametrize("rule", ["body", "csv_squared", "fomm_stretch"])
def test_a_rule_that_cuts_out_listed_boxes_refuses_sources_without_one(rule):
    crop = crop_settings(rule)
    good = listed("http://a.org/good.mp4", bbox=(0.0, 0.0, 9.0, 9.0), bbox_size=(9, 9))
    gone = listed("http://a.org/gone.mp4", DownloadStatus.PERMANENT)
    require_boxes([good, gone], crop)
    named = listed("http://a.org/1.mp4", source_id="one")
    bad = [listed(f"http://a.org/{number}.mp4") for number in range(2, 6)]
    with pytest.raises(ValueError, match="got") as refused:
        require_boxes([good, named, *bad, gone], crop)
    assert str(refused.value) == (
        "got 5 sources without bbox (one, http://a.org/2.mp4, http://a.org/3.mp4 and 2 more); crop rule "
        f"{rule} cuts out the listed box; fill bbox, width and height in data/sources.csv, or set "
        "shards.crop.rule to fomm_square or none"
    )


def test_a_listed_box_of_unknown_width_takes_the_aspect_of_the_downloaded_video(tmp_path):
    settings = read_params(CHECKOUT / "params.yaml").shards
    row = listed("http://a.org/1.mp4", bbox=(274.0, 94.0, 398.0, 270.0), bbox_size=(0, 360))
    downloaded = replace(row.download, file="k.mp4", sha256="0", width_px=640, height_px=480)
    (task,) = source_tasks([SourceRow(row.source, downloaded)], settings, ProjectPaths(tmp_path), None)
    assert task.source.bbox_size == (480, 360)


@pytest.mark.parametrize("rule", ["fomm_square", "none"])
def test_other_rules_need_no_listed_box(rule):
    require_boxes([listed("http://a.org/1.mp4")], crop_settings(rule))


def test_missing_boxes_stop_the_stage_before_any_work(new_project):
    project = new_project("boxless", sources=[])
    write_sources(project.root / "data/ledger/sources.parquet", [listed("http://127.0.0.1:1/v.mp4")])
    project.set_params({"shards.crop.rule": "body"})
    stopped = project.run("lia", "shards", succeeds=False)
    assert stopped.returncode == 2
    (line,) = stopped.stderr.splitlines()
    assert line.startswith("lia: got 1 sources without bbox (http://127.0.0.1:1/v.mp4); crop rule body")
    assert stopped.stdout == ""
    assert not (project.root / "data/clips").exists()


def written(root):
    """Return every file that the stage wrote, by name."""
    folders = [root / "data" / name for name in ("shards", "clips", "tracks")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files.append(root / "data/ledger/clips.parquet")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_another_machine_goes_on_from_the_store(new_project, samples_url, prefect, s3):
    """Two checkouts share nothing but an object store: the second fetches, decodes and detects nothing."""
    names = ("single_face.mp4", "no_face.mp4")
    first, second = (
        new_project(f"store-{number}", sources=[f"{samples_url}/{name},train" for name in names])
        for number in (1, 2)
    )
    for project in (first, second):
        project.variables.update(s3 | prefect)
    first.run("lia", "download")
    first.run("lia", "shards")
    wanted = written(first.root)

    # Nobody serves the videos any more, nor does the first checkout have them.
    shutil.rmtree(first.root / "data")
    second.set_params({"download.allow_private_hosts": []})
    second.run("lia", "download")
    raw = list((second.root / "data/raw").iterdir())
    assert len(raw) == 4
    for path in raw:
        path.unlink()
    second.run("lia", "shards")
    assert written(second.root) == wanted
    assert not list((second.root / "data/raw").iterdir())

    locked_out = Project(second.root, second.variables | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    for stage in ("download", "shards"):
        told = locked_out.run("lia", stage, succeeds=False)
        assert told.stderr.startswith("lia: got PermissionError")
        assert told.stderr.count("\n") == 1
