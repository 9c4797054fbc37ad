"""The promise of `lia batch`, kept by a service and by Ray: every row once, whatever is killed."""

import os
import signal
import sqlite3
import time
from contextlib import contextmanager

import pytest

from preprocessing.media.video_reader import probe
from tests.pipelines.commands.batch.batch_project import NUM_FRAMES, TOKEN, serving

pytestmark = pytest.mark.slow
VARIABLES = {name: value for name, value in os.environ.items() if not name.startswith("LIA_")}


@contextmanager
def by_service(project, models):
    with serving(project.root, models, max_num_items=100) as url:
        yield ["--endpoint", url], VARIABLES | {"LIA_API_TOKEN": TOKEN}
    with sqlite3.connect(project.root / "serving" / "jobs.sqlite") as jobs:
        made = "select count(*), sum(attempts) from jobs where status = 'succeeded'"
        assert jobs.execute(made).fetchall() == [(17, 17)]


@contextmanager
def by_ray(project, models):
    yield ["--model", "tiny"], VARIABLES


def videos_in(folder):
    """Return the finished videos, whose names begin with no dot."""
    return sorted(path for path in folder.glob("*.mp4") if not path.name.startswith("."))


@pytest.mark.parametrize("animating", [by_service, by_ray])
def test_a_batch_killed_halfway_and_run_again_does_every_row_once(project, models, animating):
    project.write_twenty()
    output = project.root / f"out_{animating.__name__}"
    command = ("batch", "twenty.csv", "-o", output.name)
    with animating(project, models) as (more, variables):
        killed = project.start(*command, *more, variables=variables)
        wait_for(lambda: len(videos_in(output)) >= 6, killed)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        made = {path: path.stat().st_mtime_ns for path in videos_in(output)}
        assert len(made) < 17
        assert project.start(*command, *more, variables=variables).wait(300) == 1
        rows = project.results(output.name)
        videos = videos_in(output)
        assert len(videos) == 17 == [row["status"] for row in rows].count("succeeded")
        reasons = [row["error"].split(":")[0] for row in rows if row["status"] == "failed"]
        assert reasons == ["no_face", "not_found", "unreadable_media"]
        assert {probe(path).num_frames for path in videos} == {NUM_FRAMES}
        assert {path: path.stat().st_mtime_ns for path in made} == made
        assert not list(output.glob(".*"))


def wait_for(is_so, process):
    deadline = time.monotonic() + 300
    while not is_so():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
