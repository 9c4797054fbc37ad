import shutil
import time
from fractions import Fraction

import httpx
import mlflow
import numpy as np
import pytest
import ray
from PIL import Image
from ray import serve

from lia_model.animation.options import AnimationOptions
from lia_model.checkpoints.directory import load_generator, save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases
from lia_model.registry.models import resolve
from lia_model.registry.tracking_variables import tracking_variables
from lia_model.serving.app import AnimationReplica, ServingConfig, deploy, open_jobs, withdraw
from lia_model.serving.database import sqlite_url
from lia_model.serving.jobs import RetryRules
from lia_model.serving.jobs.job import Order
from lia_model.serving.messages import JobStatus, ModelVersion
from lia_model.settings import NetworkSettings, ReplicaRange
from preprocessing.media.containers.container_tags import read_tags
from preprocessing.media.video_reader import probe
from preprocessing.media.video_writer import VideoWriter
from tests.lia_model.serving.service import MEDIA, REQUESTS, folders_of
from tests.ports import free_port
from tests.trace_receiver import trace_receiver

NTSC = Fraction(30000, 1001)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # Ray's sockets need a short path, which pytest's own folders are not.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "1")
        ray.init(
            # Without it, a cluster that somebody else started on this machine would be used.
            address="local",
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
        )
        yield
        serve.shutdown()
        ray.shutdown()


@pytest.fixture
def config(tmp_path, models):
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    save_generator(tmp_path / "checkpoint", build_generator(settings, seed=0))
    return ServingConfig(
        compilation="none",
        video_decoder="gpu",
        video_encoder="auto",
        checkpoint=tmp_path / "checkpoint",
        model=ModelVersion(name="lia", version="7"),
        home=tmp_path / "serving",
        database=sqlite_url(tmp_path / "serving" / "jobs.sqlite"),
        folders=folders_of(tmp_path),
        token=None,
        token_file=tmp_path / "tokens.json",
        max_upload_bytes=100_000,
        max_num_queued=8,
        max_num_batch_items=8,
        max_stored_bytes=10**9,
        media=MEDIA.model_copy(update={"max_num_frames": 1000, "max_duration_s": 60}),
        keep_s=3600,
        requests=REQUESTS,
        batch_size=4,
        num_threads=1,
        replicas=ReplicaRange(min=1, max=1, jobs_per_replica=2, up_delay_s=0, down_delay_s=1),
        drain_s=60,
        shared_storage=False,
        detector=models / "scrfd",
        min_score=0.5,
        pad_px=64,
        every_num_frames=5,
    )


@pytest.fixture
def collector():
    with trace_receiver() as made:
        yield made


def clip(path, num_frames=12):
    with VideoWriter(path, NTSC, (32, 32)) as writer:
        for index in range(num_frames):
            writer.write(np.full((32, 32, 3), 20 * index % 256, dtype=np.uint8))
    return path


def ended(client, link):
    deadline = time.monotonic() + 60
    while (status := client.get(link).json())["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status


@pytest.mark.slow
def test_an_upload_becomes_a_video_through_ray_serve(cluster, config, collector, tmp_path):
    port = free_port()
    config = config.model_copy(update={"telemetry": {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}})
    deploy(config, "127.0.0.1", port)
    driving = clip(tmp_path / "clip.mp4")
    Image.fromarray(np.full((40, 40, 3), 90, dtype=np.uint8)).save(tmp_path / "portrait.png")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        files = {"source": (tmp_path / "portrait.png").read_bytes(), "driving": driving.read_bytes()}
        accepted = client.post("/v1/animations", files=files, data={"crop": "false"})
        assert accepted.status_code == 202, accepted.text
        links = accepted.json()["links"]
        done = ended(client, links["self"])
        assert (done["status"], done["progress"], done["frames_total"]) == ("succeeded", 1, 12)
        assert done["model"] == {"name": "lia", "version": "7"}
        whole = client.get(links["video"])
        part = client.get(links["video"], headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, whole.content[100:200])
        (tmp_path / "result.mp4").write_bytes(whole.content)
        info = probe(tmp_path / "result.mp4")
        assert (info.num_frames, info.fps, info.width_px) == (12, NTSC, 32)
        directions = client.get("/v1/directions").json()
        assert (directions["size_px"], len(directions["directions"])) == (32, 4)
        portrait = {"source": files["source"], "square": (None, "0:0:40")}
        painted = client.post("/v1/manipulations", files=portrait)
        assert (painted.status_code, painted.headers["content-type"]) == (200, "image/png")
        kept = {"portrait": (None, painted.headers["LIA-Portrait"]), "weights": (None, "0,0,0,0")}
        assert client.post("/v1/manipulations", files=kept).content == painted.content
        refused = client.post("/v1/manipulations", files={"source": files["source"]})
        assert refused.json()["error"]["code"] == "no_face"
        assert client.put("/v1/directions/1", json={"name": "nod"}).status_code == 200
        assert client.get("/v1/directions").json()["directions"][0]["name"] == "nod"
        assert "<title>" in client.get("/").text
        assert client.delete(links["self"]).status_code == 204
        assert client.get(links["self"]).status_code == 404

        items = [{"source": "portrait.png", "driving": "clip.mp4"}]
        batch = client.post("/v1/batches", json={"items": items, "output": "out"}).json()
        (item,) = ended(client, batch["links"]["self"])["items"]
        assert (item["status"], item["error"]["code"]) == ("failed", "no_face")

        large = {"source": ("a.png", b"x" * 200_000), "driving": ("b.png", b"x")}
        refused = client.post("/v1/animations", files=large)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
        assert client.get("/-/routes").status_code == 404
        ended_early = run_and_withdraw(client, config, tmp_path)
    assert JobStatus.RUNNING not in ended_early
    assert ended_early[0] is JobStatus.SUCCEEDED
    # From the process that answers and the one that animates.
    request, job = collector.named("POST /v1/animations")[0], collector.named("job")[0]
    assert (job.trace_id, job.parent_span_id) == (request.trace_id, request.span_id)
    assert collector.named("animate")[0].parent_span_id == job.span_id


@pytest.mark.slow
def test_a_service_answers_at_its_own_address_alone_and_not_once_it_is_withdrawn(cluster, config):
    protected, open_to_all = f"http://127.0.0.2:{free_port()}", f"http://127.0.0.1:{free_port()}"

    def deploy_at(url, token):
        host, port = url.removeprefix("http://").split(":")
        deploy(config.model_copy(update={"token": token}), host, int(port))

    with httpx.Client(timeout=30, trust_env=False) as client:
        deploy_at(protected, "s3cret")
        assert client.get(f"{protected}/v1/models").status_code == 401
        deploy_at(open_to_all, None)
        assert client.get(f"{open_to_all}/v1/models").status_code == 200
        with pytest.raises(httpx.ConnectError):
            client.get(f"{protected}/healthz")
        withdraw()
        with pytest.raises(httpx.ConnectError):
            client.get(f"{open_to_all}/healthz")


def replicas():
    """Return the names of the actors that animate."""
    names = (one["name"] for one in ray.util.list_named_actors(all_namespaces=True))
    return sorted(name for name in names if "AnimationReplica" in name)


def num_running_replicas():
    (application,) = serve.status().applications.values()
    return application.deployments["AnimationReplica"].replica_states.get("RUNNING", 0)


def wait(condition, timeout_s=200):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def run_and_withdraw(client, config, tmp_path):
    """Withdraw the service while it runs the first of some jobs; return how all of them stand."""
    clip(tmp_path / "longer.mp4", 600)
    item = {"source": "longer.mp4", "driving": "longer.mp4", "crop": False}
    batch = client.post("/v1/batches", json={"items": [item] * 8, "output": "out"}).json()["id"]
    wait(lambda: client.get(f"/v1/batches/{batch}").json()["counts"]["running"])
    withdraw()
    left = open_jobs(config).get_batch(batch)
    assert [(job.losses, job.failures) for job in left] == [(0, 0)] * 8
    assert left[-1].attempts == 0
    return [job.status for job in left]


@pytest.mark.drill
def test_replicas_follow_the_backlog_and_one_that_is_killed_loses_no_job(cluster, config, tmp_path):
    clip(tmp_path / "long.mp4", 99)
    port = free_port()
    more = {
        "replicas": config.replicas.model_copy(update={"max": 2}),
        "retry": RetryRules(lease_s=2),
        "max_num_batch_items": 100,
        "drain_s": 0,
    }
    config = config.model_copy(update=more)
    deploy(config, "127.0.0.1", port)
    assert num_running_replicas() == 1
    item = {"source": "long.mp4", "driving": "long.mp4", "crop": False}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:

        def submit(num_items, output):
            batch = {"items": [item] * num_items, "output": output}
            return client.post("/v1/batches", json=batch).json()["links"]["self"]

        def counts(link):
            return client.get(link).json()["counts"]

        first = submit(40, "first")
        wait(lambda: counts(first)["running"] == 2)
        ray.kill(ray.get_actor(replicas()[0], namespace="serve"))
        wait(lambda: counts(first)["succeeded"] == 40)
        assert all((tmp_path / "first" / f"{number:05d}.mp4").is_file() for number in range(40))
        wait(lambda: num_running_replicas() == 1)
        # Without any time to finish it.
        assert set(run_and_withdraw(client, config, tmp_path)) <= {JobStatus.QUEUED, JobStatus.SUCCEEDED}


@pytest.mark.slow
def test_jobs_name_versions_and_new_ones_follow_an_alias(cluster, config, registry, tmp_path):
    aliases.set_alias("lia", "champion", "1")
    aliases.set_alias("lia", "challenger", "2")
    served = {
        "checkpoint": resolve("models:/lia/1").directory,
        "model": ModelVersion(name="lia", version="1"),
        "registry": tracking_variables(mlflow.get_tracking_uri()),
        "alias": "champion",
        "max_num_models": 1,
    }
    port = free_port()
    deploy(config.model_copy(update=served), "127.0.0.1", port)
    files = {
        "source": clip(tmp_path / "a.mp4").read_bytes(),
        "driving": clip(tmp_path / "b.mp4").read_bytes(),
    }
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:

        def made_by(model):
            fields = {"crop": "false", "model": model} if model else {"crop": "false"}
            accepted = client.post("/v1/animations", files=files, data=fields)
            assert accepted.status_code == 202, accepted.text
            links = accepted.json()["links"]
            done = ended(client, links["self"])
            assert done["status"] == "succeeded", done
            (tmp_path / "made.mp4").write_bytes(client.get(links["video"]).content)
            assert read_tags(tmp_path / "made.mp4")["model"] == f"models:/lia/{done['model']['version']}"
            return done["model"]["version"]

        assert [made_by(word) for word in (None, "lia@challenger", "lia/3", "lia")] == ["1", "2", "3", "1"]
        assert client.post("/v1/animations", files=files, data={"model": "lia/9"}).status_code == 422

        def loaded():
            return [
                one["version"] for one in client.get("/v1/models").json()["available"] if one["is_loaded"]
            ]

        # The second has made room for the third; a mark fades within seconds.
        wait(lambda: loaded() == ["3", "1"], 30)
        aliases.set_alias("lia", "champion", "3")
        wait(lambda: made_by(None) == "3", 30)
    withdraw()


@pytest.mark.parametrize("rule", ["body", "none"])
def test_a_model_trained_without_faces_animates_what_shows_none(config, tmp_path, rule):
    generator = load_generator(config.checkpoint)
    record = {"rule": rule, "scale": 1.2, "outside": "pad"}
    save_generator(config.checkpoint, generator, {"crop": record})
    files = [clip(tmp_path / name) for name in ("source.mp4", "driving.mp4")]
    order = Order(*files, tmp_path / "out.mp4", AnimationOptions(), config.model)
    store = open_jobs(config)
    store.submit({"job": order}, 1)
    replica = AnimationReplica(config.model_copy(update={"detector": tmp_path / "none"}))
    deadline = time.monotonic() + 60
    while not (found := store.get("job")).status.is_final:
        assert time.monotonic() < deadline, found
        replica.check_health()
        time.sleep(0.05)
    assert (found.status, found.order.error) == (JobStatus.SUCCEEDED, None)


def test_the_queue_of_a_copied_project_names_the_copies_of_its_files(config, tmp_path):
    order = Order(*(tmp_path / name for name in "abc"), AnimationOptions(), config.model)
    open_jobs(config).submit({"job": order}, 1)
    copy = tmp_path / "copy"
    shutil.copytree(config.home, copy / "serving")
    copied = (
        open_jobs(
            config.model_copy(
                update={"database": sqlite_url(copy / "serving" / "jobs.sqlite"), "folders": folders_of(copy)}
            )
        )
        .get("job")
        .order
    )
    assert (copied.source, copied.driving, copied.output) == (copy / "a", copy / "b", copy / "c")
