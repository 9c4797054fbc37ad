"""The factory on machines that share nothing but an object store loses one of them, its driver and the store.

The machines are raylets, each with a home of its own; the videos are in the store alone. What comes out has
to be what one machine makes undisturbed, byte for byte.
"""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.local.shards_copy import copy_shards
from preprocessing.shards.manifest import read_manifest
from preprocessing.storage.exchange import TARS, video_bundle
from preprocessing.storage.object_store import Store
from tests.drills.machines import Machines
from tests.object_store import stoppable_s3

pytestmark = pytest.mark.drill

NAMES = ("single_face.mp4", "no_face.mp4", "face_noface.mov", "noface_face.mov", "WolfgangLanger_Pexels.mp4")
OUTAGE_S = 60
PATIENCE_S = 400
RAY_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")


@dataclass
class Driver:
    """`lia shards` in a project, and a log of what happens to it."""

    project: object
    variables: dict[str, str]
    log: Path
    process: subprocess.Popen = field(init=False)

    def note(self, line):
        with self.log.open("a") as log:
            log.write(f"--- {time.strftime('%H:%M:%S')} {line}\n")

    def start(self):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                ["lia", "shards"],
                cwd=self.project.root,
                env=self.project.variables | self.variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def wait_for(self, is_so):
        deadline_s = time.monotonic() + PATIENCE_S
        while not is_so():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline_s, "it did not come"
            time.sleep(0.1)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self):
        assert self.process.wait(PATIENCE_S) == 0, self.log.read_text()[-3000:]


@pytest.fixture
def server(monkeypatch):
    with stoppable_s3(monkeypatch) as server:
        yield server


@pytest.fixture
def machines(server, new_cluster, tmp_path):
    machines = Machines(new_cluster(0), tmp_path, server.variables)
    for name in ("one", "two"):
        machines.join(name)
    return machines


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leave_only_videos(data, store):
    """Move the videos to the store, and remove what was made of them."""
    for video in [path for path in (data / "raw").iterdir() if path.is_file() and path.suffix != ".json"]:
        files = (path for path in (video, video.with_suffix(".json")) if path.is_file())
        store.put(video_bundle(video.stem), {path.name: path for path in files})
        video.unlink()
    for name in ("shards", "clips", "tracks"):
        shutil.rmtree(data / name)
    (data / "ledger/clips.parquet").unlink()


@pytest.fixture
def project(new_project, samples_url):
    rows = [f"{samples_url}/{name},{'test' if 'Pexels' in name else 'train'}" for name in NAMES]
    project = new_project("factory", sources=rows)
    project.run("lia", "up", "prefect")
    # A tar for each source.
    quality = {"shards.quality.min_duplicate_similarity": None}
    project.set_params({"shards.num_parallel": 2, "shards.shard_bytes": 1} | quality)
    project.run("lia", "download")
    return project


def test_a_lost_machine_a_killed_driver_and_a_store_that_is_down_change_no_byte(
    project, server, machines, tmp_path, drill_folder
):
    log = drill_folder / "lost_factory.log"
    log.unlink(missing_ok=True)
    project.run("lia", "shards", timeout_s=900)
    data = project.root / "data"
    wanted = contents(data / "shards")
    ledger = (data / "ledger/clips.parquet").read_bytes()
    store = Store(server.variables["LIA_STORE_URL"])
    leave_only_videos(data, store)

    variables = server.variables | {name: os.environ[name] for name in RAY_VARIABLES}
    driver = Driver(project, variables | {"LIA_RAY_ADDRESS": machines.cluster.address}, log).start()
    driver.wait_for(lambda: len(store.bundles("clips")) >= 1)
    driver.note(f"machine one is lost; in the store: {store.bundles('clips')}")
    machines.lose("one")
    driver.wait_for(lambda: len(store.bundles("clips")) >= 2)
    driver.note(f"the driver is killed; in the store: {store.bundles('clips')}")
    driver.kill()
    assert not (data / "shards").exists()

    machines.join("one")
    finished = store.bundles("clips")
    driver.start()
    joined = log.read_text().count("using the Ray cluster")
    driver.wait_for(lambda: log.read_text().count("using the Ray cluster") > joined + 1)
    server.stop()
    driver.note(f"the store is killed; it had {finished}")
    time.sleep(OUTAGE_S)
    assert driver.process.poll() is None, log.read_text()[-3000:]
    server.start()
    driver.note("the store is back")
    driver.finish()

    assert (data / "ledger/clips.parquet").read_bytes() == ledger
    found = contents(data / "shards")
    assert found == {name: content for name, content in wanted.items() if not name.endswith((".tar", ".npy"))}
    # This machine got neither clips nor tracks, and those that worked kept nothing.
    assert not list((data / "tracks").iterdir())
    assert not (data / "clips").exists()
    assert machines.kept("two") == []
    tars = store.bundles(TARS)
    splits = read_manifest(data / "shards").splits
    assert len(tars) == len(splits.train.tars) + len(splits.test.tars)
    copy_shards(data / "shards", store, tmp_path / "copy")
    assert contents(tmp_path / "copy") == wanted
    driver.note(f"{len(tars)} tars, index, manifest, report and ledger are those of an undisturbed local run")
