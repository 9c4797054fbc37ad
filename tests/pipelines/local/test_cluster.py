"""Units of work on a real Ray cluster of one machine."""

import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import ray

from pipelines.local.cluster import (
    ClusterError,
    _stderr_held_back,
    compose_on_cluster,
    connected,
    process_on_cluster,
    require_cluster,
)
from pipelines.local.logical_cpus import num_logical_cpus
from pipelines.local.shards_copy import copy_shards
from pipelines.params import read_params
from pipelines.project_paths import ProjectPaths
from preprocessing.clips import source_run as clip
from preprocessing.clips.source_run import SourceTask
from preprocessing.clips.splitting.disjointness import Disjointness
from preprocessing.clips.stored_result import read_prepared
from preprocessing.clips.units import fetch_finished, group_into_units, process_here
from preprocessing.shards.composing import TarsInStore
from preprocessing.shards.stored_shards import store_shards
from preprocessing.shards.writer import describe_shards, write_shards
from preprocessing.sources.source import Source, source_key
from preprocessing.storage.object_store import Store, StoreError
from tests.conftest import CHECKOUT
from tests.ports import free_port

# Ray drops the handles of processes that it told to end, and Python warns of those that have not ended yet.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture(autouse=True)
def dropped_handles():
    """Collect these handles before another file's tests."""
    yield
    gc.collect()


@pytest.fixture
def make_tasks(tmp_path, samples, models):
    """Function that returns one task for each of three videos, whose results go to a folder of that name."""
    settings = read_params(CHECKOUT / "params.yaml").shards
    videos = [samples / name for name in ("single_face.mp4", "no_face.mp4")]
    videos.append(shutil.copy(samples / "single_face.mp4", tmp_path / "again.mp4"))

    def make(folder, store_url=None):
        urls = [f"http://a.org/{number}.mp4" for number in range(len(videos))]
        sources = [Source(url=url, key=source_key(url)) for url in urls]
        return [
            SourceTask(
                source=source,
                video=video,
                video_sha256=hashlib.sha256(video.read_bytes()).hexdigest(),
                root=models.parent,
                settings=settings,
                tracks=tmp_path / folder / "tracks",
                clips=tmp_path / folder / "clips",
                store_url=store_url,
            )
            for source, video in zip(sources, videos, strict=True)
        ]

    return make


def in_units(tasks, num_units):
    return group_into_units(tasks, num_units, lambda task: task.source)


def without_place(results):
    """Return results in the order of their keys, with the bytes of their clips, wherever these lie."""
    found = {}
    for result in results:
        clips = [
            (prepared.clip, prepared.frames())
            for folder in sorted({clip.folder for clip in result.clips})
            for prepared in read_prepared(folder).values()
        ]
        found[result.row_key] = (result.rows, clips, [clip.content for clip in result.clips])
    return dict(sorted(found.items()))


@pytest.mark.slow
def test_a_cluster_gives_what_one_process_gives_even_when_a_task_is_killed(make_tasks, tmp_path):
    here = process_here(in_units(make_tasks("here")[::-1], 1), 1, lambda result: None)
    tasks = make_tasks("there", f"file://{tmp_path}/store")
    told, killed, is_over = [], [], threading.Event()

    def kill():
        """Kill the Ray process above the first worker that appears."""
        while not killed and not is_over.wait(0.05):
            for worker in psutil.process_iter():
                with suppress(psutil.Error, AttributeError):
                    task = worker.parent()
                    if clip.__name__ in worker.cmdline() and task.cmdline()[0].startswith("ray::"):
                        task.kill()
                        killed.append(task.pid)
                        break

    with connected(None, ProjectPaths(tmp_path).ray_home, "127.0.0.1"):
        killer = threading.Thread(target=kill)
        killer.start()
        there = process_on_cluster(in_units(tasks, 3), 2, told.append)
        is_over.set()
        killer.join()
    assert killed
    # As if the cluster were other machines: what they cut comes back through the store alone.
    shutil.rmtree(tmp_path / "there")
    for task in tasks:
        fetch_finished(task, Store(f"file://{tmp_path}/store"))
    assert without_place(there) == without_place(here)
    assert sorted(result.row_key for result in told) == sorted(result.row_key for result in here)


def shard_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_machines_that_share_only_a_store_make_the_tars_that_this_machine_makes(make_tasks, tmp_path):
    """One of their sources was finished before."""
    store = Store(f"file://{tmp_path}/store")

    def write(results, name, make_tars=None):
        clips = [clip for result in results for clip in result.clips]
        rows = [row for result in results for row in result.rows]
        settings = make_tasks("here")[0].settings
        detector = make_tasks("here")[0].root / settings.detect.models
        describe = partial(describe_shards, clips, rows, [], settings, detector, Disjointness(None, ""))
        return write_shards(clips, 1, tmp_path / name, describe, make_tars)

    manifest = write(process_here(in_units(make_tasks("here"), 1), 1, lambda result: None), "wanted")
    tasks = make_tasks("nowhere", f"file://{tmp_path}/store")
    with connected(None, ProjectPaths(tmp_path).ray_home, "127.0.0.1"):
        process_on_cluster([tasks[:1]], 1, lambda result: None, is_apart=True)
        made_at_ns = [path.stat().st_mtime_ns for path in (tmp_path / "store/clips").rglob("*.jpgs")]
        results = process_on_cluster(in_units(tasks, 3), 2, lambda result: None, is_apart=True)
        told = []

        def compose(tars):
            return compose_on_cluster(tars, 2, f"file://{tmp_path}/store", told.append)

        found = write(results, "shards", TarsInStore(store, compose))
        assert found == manifest
        assert len(told) == len(found.splits.train.tars) == 2
        store_shards(store, tmp_path / "shards")
        # What is made of the same clips is not made again, whatever its number.
        assert write(results[::-1], "shards", TarsInStore(store, compose)) == manifest
        assert len(told) == 2
    # No machine kept anything, and nothing was cut twice.
    assert not (tmp_path / "nowhere").exists()
    assert made_at_ns[0] in [path.stat().st_mtime_ns for path in (tmp_path / "store/clips").rglob("*.jpgs")]
    assert not list((tmp_path / "shards").rglob("*.tar"))
    copy_shards(tmp_path / "shards", store, tmp_path / "copy")
    assert shard_files(tmp_path / "copy") == shard_files(tmp_path / "wanted")


@pytest.mark.slow
def test_a_private_cluster_is_none_that_a_copied_home_remembers(tmp_path):
    home = ProjectPaths(tmp_path).ray_home
    home.mkdir(parents=True)
    (home / "ray_current_cluster").write_text("127.0.0.1:9")
    with connected(None, home, "127.0.0.1"):
        assert ray.get_runtime_context().gcs_address != "127.0.0.1:9"
        assert ray.cluster_resources()["CPU"] == num_logical_cpus()


TOLD = """
import os, sys
import ray
from pipelines.local.cluster import joined
with joined(sys.argv[1], "work-7"):
    print(ray.get(ray.remote(lambda: os.environ["LIA_CORRELATION_ID"]).remote()))
"""


@pytest.mark.slow
def test_tasks_of_a_cluster_have_the_id_of_the_work_that_they_are_part_of(tmp_path):
    with connected(None, ProjectPaths(tmp_path).ray_home, "127.0.0.1"):
        command = [sys.executable, "-c", TOLD, ray.get_runtime_context().gcs_address]
        done = subprocess.run(command, cwd=CHECKOUT, text=True, capture_output=True, timeout=120)
    assert done.stdout == "work-7\n", done.stderr


INTERRUPTED = """
import sys, time
from pathlib import Path
from pipelines.local.cluster import connected
try:
    with connected(None, Path(sys.argv[1]), "127.0.0.1"):
        print("connected", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.slow
def test_sigterm_interrupts_a_connected_process_without_a_stack_trace(tmp_path):
    home = ProjectPaths(tmp_path).ray_home
    command = [sys.executable, "-c", INTERRUPTED, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "interrupted\n")
    assert "SIGTERM" not in error


@pytest.mark.parametrize("protocol", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_named_at_once(protocol):
    address = f"{protocol}127.0.0.1:{free_port()}"
    with pytest.raises(ClusterError, match="does not answer \\(Connection refused\\): see that it runs"):
        require_cluster(address)


@pytest.mark.parametrize(
    ("error", "shown"),
    [(None, "a warning\n"), (ClusterError("it refuses"), ""), (OSError("?"), "a warning\n")],
)
def test_what_is_written_while_a_cluster_is_joined_is_shown_unless_a_line_tells_it(capfd, error, shown):
    with suppress(OSError), _stderr_held_back():
        os.write(2, b"a warning\n")
        assert capfd.readouterr().err == ""
        if error is not None:
            raise error
    assert capfd.readouterr().err == shown


@pytest.mark.slow
def test_a_wrong_token_is_told_with_the_variables_that_hold_it(tmp_path, monkeypatch):
    with connected(None, Path(tempfile.mkdtemp(prefix="ray-")), "127.0.0.1"):
        address = ray.get_runtime_context().gcs_address
        program = (
            "import sys; from pipelines.local.cluster import ClusterError, require_cluster\n"
            "try: require_cluster(sys.argv[1])\n"
            "except ClusterError as error: print(error)"
        )
        variables = os.environ | {"RAY_AUTH_TOKEN": "a" * 64, "RAY_AUTH_MODE": "token"}
        command = [sys.executable, "-c", program, address]
        done = subprocess.run(
            command, text=True, capture_output=True, env=variables, cwd=CHECKOUT, timeout=200
        )
        assert done.returncode == 0, done.stderr
        assert f"the Ray cluster at {address} answers but cannot be joined" in done.stdout
        assert "set RAY_AUTH_TOKEN" in done.stdout
        assert "a" * 64 not in done.stdout + done.stderr
        # Ray's native code writes a warning a second.
        assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("is_apart", [False, True])
def test_a_store_that_fails_on_a_machine_of_the_cluster_is_told_without_rays_traceback(make_tasks, is_apart):
    tasks = make_tasks("there", "file:///dev/null/store")
    with connected(None, Path(tempfile.mkdtemp(prefix="ray-")), "127.0.0.1"):
        with pytest.raises(StoreError, match="NotADirectoryError") as raised:
            process_on_cluster(in_units(tasks, 1), 1, lambda result: None, is_apart=is_apart)
        assert type(raised.value) is StoreError
        assert "Traceback" not in str(raised.value)
