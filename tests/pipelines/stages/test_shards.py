"""The stages download and shards as a user runs them, on a list with good and bad sources."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from preprocessing.ledger import read_clip_rows, read_source_rows
from tests.conftest import Project


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
