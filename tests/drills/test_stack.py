"""The whole loop on a team's stack: rebuild, train on both nodes, release, batch, takedown, end of all.

The tests are steps of one story, in the order in which they stand. Its project and its stack are its own; a
stack that runs is left alone.
"""

import csv
import json
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import httpx
import psycopg
import pytest
from PIL import Image

from infra.stack.object_store import s3_client
from infra.stack.services import NAMES
from pipelines.demo.samples import serve_folder
from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter
from tests.drills.team_stack import TeamStack, status_for_strangers

pytestmark = pytest.mark.drill

NUM_FRAMES = 120
NUM_STEPS = 20
SMALL = {
    "shards.quality.min_num_frames": 24,
    "shards.num_parallel": 1,
    "train.network.width": 0.05,
    "train.num_workers": 2,
    "train.num_steps": NUM_STEPS,
    "train.global_batch_size": 4,
    "train.micro_batch_size": 2,
    "train.log_every_steps": 5,
    "train.strip_every_steps": 10,
    "train.checkpoint_every_steps": 10,
    "train.validate_every_steps": 10,
    "train.losses.perceptual.weight": 0.0,
}


@pytest.fixture(scope="module")
def url(samples, tmp_path_factory):
    """Where two clips of one person are served."""
    served = tmp_path_factory.mktemp("served")
    cut(samples / "WolfgangLanger_Pexels.mp4", served / "face.mp4", 0)
    cut(samples / "WolfgangLanger_Pexels.mp4", served / "later.mp4", 240)
    with serve_folder(served, "127.0.0.1", 0) as url:
        yield url


def cut(clip: Path, target: Path, first: int) -> None:
    info = probe(clip)
    with VideoWriter(target, Fraction(info.fps), (info.width_px, info.height_px)) as video:
        for number, frame in enumerate(decode(clip)):
            if first <= number < first + NUM_FRAMES:
                video.write(frame.image)


@pytest.fixture(scope="module")
def stack(new_project, url):
    project = new_project("stack", sources=[f"{url}/face.mp4,by_time", f"{url}/later.mp4,by_time"])
    project.set_params(SMALL)
    # Not below pytest's folder, which PostgreSQL's user may not enter.
    with tempfile.TemporaryDirectory(prefix="lia-stack-", dir="/tmp", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o755)
        stack = TeamStack(project, home)
        try:
            yield stack
        finally:
            stack.run("down")


def s3_keys(stack: TeamStack, prefix: str) -> set[str]:
    client = s3_client(stack.plan)
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=stack.plan.settings.s3_bucket, Prefix=prefix
    )
    return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


def test_the_stack_starts_without_a_model(stack):
    told = stack.run("up", timeout_s=500)
    assert "without the animation service: no version of lia is released" in told
    status = stack.run("status")
    assert status.count(": runs") == len(NAMES) - 1
    assert "serve: does not run: no version of lia is released" in status


def test_a_second_start_changes_nothing(stack):
    before = {process.pid for process in stack.members()}
    pids = {json.loads(path.read_text())["pid"] for path in stack.plan.records.glob("*.json")}
    assert pids <= before
    stack.run("up")
    assert {json.loads(path.read_text())["pid"] for path in stack.plan.records.glob("*.json")} == pids


def test_every_server_refuses_strangers(stack):
    settings = stack.plan.settings
    for url, refusal in (
        (f"{settings.mlflow_url()}/api/2.0/mlflow/experiments/search?max_results=1", 401),
        (f"{settings.prefect_url()}/api/admin/settings", 401),
        (f"{settings.ray_dashboard_url()}/api/v0/nodes", 401),
        (f"{settings.s3_url()}/{settings.s3_bucket}", 403),
    ):
        assert status_for_strangers(url) == refusal, url
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(settings.database_url("postgres", "wrong"))


def test_wrong_credentials_are_one_line(stack):
    told = stack.client("env", "MLFLOW_TRACKING_PASSWORD=wrong", "lia", "models", succeeds=False)
    (line,) = told.strip().splitlines()
    assert "refuses the request" in line
    assert "MLFLOW_TRACKING_PASSWORD" in line


def test_the_deployment_rebuilds_the_data(stack):
    assert "Completed" in stack.deployment("rebuild-dataset/local")
    manifest = json.loads((stack.project.root / "data/shards/manifest.json").read_text())
    assert manifest["size_px"] == 64
    assert any("shards" in key for key in s3_keys(stack, "project/"))


def test_the_deployment_trains_on_both_nodes_and_releases(stack):
    assert "Completed" in stack.deployment("train-and-release/local")
    assert json.loads((stack.project.root / "metrics/train.json").read_text())["step"] == NUM_STEPS
    assert len(stack.nodes_of("RayTrainWorker")) == 2
    assert s3_keys(stack, "train/")
    listed = stack.client("lia", "models")
    assert "challenger" in listed or "champion" in listed
    assert any(key.endswith("generator.safetensors") for key in s3_keys(stack, "mlflow/"))


def test_the_service_starts_with_the_released_version(stack):
    told = stack.run("up")
    assert "the animation service is ready" in told
    assert stack.run("status").count(": runs") == len(NAMES)
    assert status_for_strangers(f"{stack.plan.settings.service_url()}/v1/models") == 401


def test_the_deployment_animates_a_batch_through_the_service(stack):
    folder = stack.project.root / "out"
    folder.mkdir(exist_ok=True)
    driving = stack.project.root / "data/samples/single_face.mp4"
    Image.fromarray(next(iter(decode(driving))).image).save(folder / "portrait.png")
    (folder / "batch.csv").write_text(f"source,driving,mode\nportrait.png,{driving},relative\n")
    endpoint = stack.plan.settings.service_url()
    batch = {"manifest": "out/batch.csv", "output": "out/batch", "endpoint": endpoint}
    assert "Completed" in stack.deployment("animate-batch/local", **batch)
    (row,) = csv.DictReader((folder / "batch/results.csv").read_text().splitlines())
    assert row["status"] == "succeeded"
    made = probe(folder / "batch" / Path(row["output"]).name)
    assert made.num_frames == probe(driving).num_frames


def test_an_upload_is_kept_in_the_store_and_its_job_in_the_database(stack):
    settings, secret = stack.plan.settings, stack.plan.credentials
    driving = stack.project.root / "data/samples/single_face.mp4"
    headers = {"Authorization": f"Bearer {secret.service_token}"}
    with httpx.Client(
        base_url=settings.service_url(), headers=headers, trust_env=False, timeout=60
    ) as client:
        files = {
            "source": ("a.png", (stack.project.root / "out/portrait.png").read_bytes(), "image/png"),
            "driving": ("b.mp4", driving.read_bytes(), "video/mp4"),
        }
        job = client.post("/v1/animations", files=files).raise_for_status().json()["id"]
        deadline_s = time.monotonic() + 120
        while (state := client.get(f"/v1/animations/{job}").json())["status"] in ("queued", "running"):
            assert time.monotonic() < deadline_s
            time.sleep(1)
        assert state["status"] == "succeeded", state
        assert client.get(f"/v1/animations/{job}/video").content[4:8] == b"ftyp"
    assert any(job in key for key in s3_keys(stack, "animations/"))
    with psycopg.connect(settings.database_url(settings.jobs_database, secret.postgres_password)) as database:
        # One of the batch and one of the upload.
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (2,)


def test_the_deployment_that_measures_the_champion_fails_for_one_that_is_no_good(stack):
    # After so little training the gate promotes nothing.
    promote = "import mlflow; mlflow.MlflowClient().set_registered_model_alias('lia', 'champion', '1')"
    stack.client("python", "-c", promote)
    assert "lia.champion.degraded" in stack.deployment("evaluate-champion/nightly", succeeds=False)
    # Its frozen list and its golden pair give what they gave when it was released.
    (problem,) = json.loads((stack.project.root / "runs/champion/report.json").read_text())["problems"]
    assert problem.startswith("not better than doing nothing")


def test_lineage_leads_from_the_model_to_its_videos_and_back(stack, url):
    listed = stack.client("lia", "lineage", "models:/lia@champion")
    assert f"{url}/face.mp4" in listed
    assert f"{url}/later.mp4" in listed
    told = stack.client("lia", "lineage", "--source", f"{url}/later.mp4")
    assert [line.split()[:3] for line in told.splitlines() if "champion" in line] == [["version", "lia", "1"]]


def test_prometheus_reads_every_part(stack):
    deadline_s = time.monotonic() + 60
    while True:
        answer = stack.get(f"{stack.plan.settings.prometheus_url()}/api/v1/query?query=up", {})
        states = {
            (one["metric"]["job"], one["metric"]["instance"].split(":")[0]): one["value"][1]
            for one in answer["data"]["result"]
        }
        if set(states.values()) == {"1"} and {job for job, _ in states} == {"serve", "prefect", "ray"}:
            break
        assert time.monotonic() < deadline_s, states
        time.sleep(2)
    assert {host for job, host in states if job == "ray"} == {"127.0.0.2", "127.0.0.3"}


def test_a_takedown_reaches_the_store(stack, url):
    told = stack.client("lia", "forget", f"{url}/later.mp4", "--yes")
    assert "trained on it, and kept: " in told
    tombstones = (stack.project.root / "data/tombstones.csv").read_text()
    (removed,) = [line for line in told.splitlines() if line.startswith("video ")]
    key = removed.split()[1]
    assert key in tombstones
    assert not [name for name in s3_keys(stack, "project/") if key in name]
    clips = (stack.project.root / "data/shards/manifest.json").read_text()
    assert key not in clips


def test_no_secret_is_in_a_file_or_in_the_arguments_of_a_process(stack):
    secrets = stack.secrets()
    lines = [" ".join(process.cmdline()).encode() for process in stack.members()]
    assert len(lines) > len(NAMES)
    assert not [line for line in lines if any(secret in line for secret in secrets)]
    # Databases, objects and logs of all servers are among the files: a run's params and a flow's too.
    private = {"credentials.json", "ray_token", "mlflow_users.ini", "prometheus.yml"}
    looked_at, found = 0, []
    for folder in (stack.home, stack.project.root, stack.plan.ray_home):
        for path in folder.rglob("*"):
            in_data_of_the_checkout = {"models", "samples"} & set(path.parts)
            if path.name in private or in_data_of_the_checkout or path.is_symlink() or not path.is_file():
                continue
            looked_at += 1
            content = path.read_bytes()
            found += [path for secret in secrets if secret in content]
    assert looked_at > 1000
    assert not found
    for name in private:
        assert (stack.home / name).stat().st_mode & 0o077 == 0


def test_down_ends_every_process_and_the_data_stays(stack):
    assert len(stack.members()) > len(NAMES)
    assert len(stack.others()) > len(NAMES)
    told = stack.run("down", timeout_s=300)
    assert all(name in told for name in NAMES)
    assert not stack.members()
    assert not stack.others()
    assert (stack.home / "postgresql/PG_VERSION").is_file()
    stack.run("status", succeeds=False)
