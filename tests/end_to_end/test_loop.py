"""The whole loop as a user runs it: real DVC, Prefect, Ray, MLflow and Serve on seconds of a real clip."""

import csv
import json
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from secrets import token_hex

import psutil
import pytest
from PIL import Image

from lia_model.checkpoints.directory import GENERATOR
from lia_model.data.sharded_clips import ShardedClips
from pipelines.demo.samples import serve_folder
from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter
from preprocessing.storage.files import file_sha256
from tests.ray_state import shown_by_ray

pytestmark = pytest.mark.slow

NUM_FRAMES = 120
CHALLENGER = "models:/lia@challenger"
SECRETS = {
    name: token_hex()
    for name in ("LIA_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN")
}
"""Variables of the user's, none of which any program may write down or pass on its command line."""
SMALL = {
    "shards.quality.min_num_frames": 24,
    "shards.num_parallel": 1,
    "train.num_steps": 6,
    "train.global_batch_size": 4,
    "train.micro_batch_size": 2,
    "train.log_every_steps": 2,
    "train.strip_every_steps": 3,
    "train.checkpoint_every_steps": 3,
    "train.validate_every_steps": 3,
    "train.losses.adversarial.every_steps": 2,
}


@pytest.fixture(scope="module")
def url(samples, tmp_path_factory):
    """Where five seconds of a face, five later ones, a clip without a face, and a page are served."""
    served = tmp_path_factory.mktemp("served")
    cut(samples / "WolfgangLanger_Pexels.mp4", served / "face.mp4", 0)
    cut(samples / "WolfgangLanger_Pexels.mp4", served / "later.mp4", NUM_FRAMES)
    (served / "no_face.mp4").write_bytes((samples / "no_face.mp4").read_bytes())
    (served / "page.mp4").write_text("<html><body>moved</body></html>")
    with serve_folder(served, "127.0.0.1", 0) as url:
        yield url


def sources(url):
    return [f"{url}/face.mp4,by_time"] + [f"{url}/{name}.mp4,auto" for name in ("no_face", "page", "gone")]


@pytest.fixture(scope="module")
def project(new_project, url):
    """A project with its services up, a face among its sources, and three sources that yield nothing."""
    project = new_project("loop", sources=sources(url))
    project.set_params(SMALL)
    project.variables.update(SECRETS)
    # OpenLineage's events, into a file.
    transport = {"TYPE": "file", "LOG_FILE_PATH": "out/lineage.json", "APPEND": "true"}
    project.variables.update({f"OPENLINEAGE__TRANSPORT__{name}": value for name, value in transport.items()})
    (project.root / "out").mkdir(exist_ok=True)
    project.run("lia", "up", timeout_s=120)
    return project


def cut(clip: Path, target: Path, first: int) -> None:
    info = probe(clip)
    with VideoWriter(target, Fraction(info.fps), (info.width_px, info.height_px)) as video:
        for number, frame in enumerate(decode(clip)):
            if first <= number < first + NUM_FRAMES:
                video.write(frame.image)


def metric(project, name):
    return json.loads((project.root / "metrics" / f"{name}.json").read_text())


def in_project(project, program: str) -> str:
    """Run Python in the project with its own tools' variables."""
    head = (
        "from pathlib import Path\nfrom pipelines.environment import read_environment\n"
        "read_environment(Path.cwd()).activate()\n"
    )
    return project.run(sys.executable, "-c", head + program).stdout


def test_repro_accounts_for_every_source_and_trains(project):
    project.run("dvc", "repro", timeout_s=400)
    assert metric(project, "download") == {
        "verified": 2,
        "permanent": 2,
        "retryable": 0,
        "environment": 0,
        "stop_the_queue": 0,
        "invalid": 0,
        "forgotten": 0,
    }
    assert metric(project, "shards")["clips"] == {"kept": 2, "filtered(no_face)": 1}
    assert metric(project, "train")["step"] == 6
    report = metric(project, "evaluate")
    (row,) = report["clips"]
    assert row["by_time"]
    assert not report["identity_disjoint"]
    assert 0 < row["copy_source_l1"] < 0.5
    assert {"psnr", "ssim", "lpips"} <= row.keys()
    shown = project.run("dvc", "metrics", "show").stdout
    assert "mean.l1" in shown


def test_the_run_in_mlflow_has_losses_strips_and_evaluation(project):
    provenance = json.loads((project.root / "checkpoints/final/config.json").read_text())["provenance"]
    out = in_project(
        project,
        "from lia_model.registry import runs\n"
        f"run = runs.mlflow_client().get_run({provenance['run_id']!r})\n"
        "print(run.info.status, run.data.tags['lia.identity_disjoint'])\n"
        f"print(runs.Run({provenance['run_id']!r}).metric_history('loss/l1'))\n"
        "print('evaluate/l1' in run.data.metrics, run.inputs.dataset_inputs[0].dataset.name)\n"
        "images = runs.mlflow_client().list_artifacts(run.info.run_id, 'images')\n"
        "print(sum('strip' in image.path and image.path.endswith('.png') for image in images))\n",
    ).splitlines()
    assert out[0] == "FINISHED False"
    assert [step for step, _ in eval(out[1])] == [2, 4, 6]
    assert out[2] == "True shards"
    assert int(out[3]) == 2


def test_a_second_repro_does_nothing(project):
    lock = (project.root / "dvc.lock").read_text()
    assert "Data and pipelines are up to date" in project.run("dvc", "repro").stdout
    assert (project.root / "dvc.lock").read_text() == lock
    tracked = project.run("git", "status", "--porcelain").stdout.splitlines()
    changed = {line[3:] for line in tracked}
    assert changed == {"data/sources.csv", "params.yaml", "dvc.lock"}


def test_release_registers_once_and_does_not_promote_what_is_worse_than_copying(project):
    for _ in range(2):
        printed = project.run("lia", "release").stdout
        assert printed.startswith("lia version 1: not promoted: not better than doing nothing: L1 0.")
        assert "judged by the clips that are split by time alone" in printed
        assert printed.splitlines()[-1].endswith("name models:/lia@challenger")
    face = str(project.root / "data/samples/single_face.mp4")
    refused = project.run("lia", "animate", face, face, "-o", "out/none.mp4", succeeds=False)
    assert "no version of 'lia' is champion; version 1 is challenger (not promoted: " in refused.stderr


def test_openlineage_leads_from_the_registered_version_back_to_the_list_of_sources(project):
    lines = (project.root / "out/lineage.json").read_text().splitlines()
    complete = [event for event in map(json.loads, lines) if event["eventType"] == "COMPLETE"]
    inputs = {
        output["name"]: {one["name"] for one in event["inputs"]}
        for event in complete
        for output in event["outputs"]
    }
    found = waiting = {"models:/lia/1"}
    while waiting:
        waiting = set().union(*(inputs.get(name, ()) for name in waiting)) - found
        found = found | waiting
    assert {"data/sources.csv", "data/tombstones.csv", "data/raw"} < found
    provenance = json.loads((project.root / "checkpoints/final/config.json").read_text())["provenance"]
    assert {f"data/shards/{provenance['data_digest']}", f"checkpoints/{provenance['run_name']}"} < found
    assert {event["job"]["name"] for event in complete} == {
        "download", "shards", "train", "evaluate", "release",
    }  # fmt: skip


def test_the_served_challenger_animates_a_batch_and_a_rerun_finds_it_done(project):
    folder = project.root / "out"
    first = next(iter(decode(project.root / "data/samples/single_face.mp4"))).image
    Image.fromarray(first).save(folder / "portrait.png")
    driving = project.root / "data/samples/single_face.mp4"
    (folder / "batch.csv").write_text(
        f"source,driving,mode\nportrait.png,{driving},relative\nmissing.png,{driving},relative\n"
    )
    log = (folder / "serve.log").open("w")
    service = subprocess.Popen(
        ["lia", "serve", "--model", CHALLENGER],
        cwd=project.root,
        env=project.variables,
        stderr=log,
        stdout=log,
    )
    try:
        wait_for(f"http://127.0.0.1:{project.variables['LIA_SERVE_PORT']}/healthz", service)
        command = ("lia", "batch", "out/batch.csv", "-o", "out/batch")
        project.run(*command, succeeds=False)
        rows = list(csv.DictReader((folder / "batch/results.csv").read_text().splitlines()))
        assert [row["status"] for row in rows] == ["succeeded", "failed"]
        assert "missing.png" in rows[1]["error"]
        video = folder / "batch" / Path(rows[0]["output"]).name
        made, wanted = probe(video), probe(driving)
        assert (made.num_frames, made.fps) == (wanted.num_frames, wanted.fps)
        written = video.stat().st_mtime_ns
        project.run(*command, succeeds=False)
        assert video.stat().st_mtime_ns == written
    finally:
        service.terminate()
        service.wait(60)
        log.close()


def wait_for(url: str, service: subprocess.Popen, timeout_s: float = 90) -> None:
    import time
    import urllib.error
    import urllib.request

    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        assert service.poll() is None, "the service ended"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"{url} did not answer within {timeout_s} s")


def test_the_challenger_animates_without_the_service(project):
    driving = project.root / "data/samples/single_face.mp4"
    project.run("lia", "animate", str(driving), str(driving), "-o", "out/alone.mp4", "--model", CHALLENGER)
    assert probe(project.root / "out/alone.mp4").num_frames == probe(driving).num_frames


def test_another_crop_size_and_format_rerun_from_shards_on(project):
    before = (project.root / "data/shards/manifest.json").read_text()
    project.set_params({"shards.crop.size_px": 32, "shards.codec": "webp"})
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    assert set(status) == {"shards"}
    out = project.run("dvc", "repro", "shards").stdout
    assert "Stage 'download' didn't change, skipping" in out
    assert "Running stage 'shards'" in out
    after = json.loads((project.root / "data/shards/manifest.json").read_text())
    assert after["size_px"] == 32
    assert json.loads(before)["size_px"] == 64
    clips = ShardedClips(project.root / "data/shards", "train")
    with Image.open(BytesIO(clips.frame_bytes(0, 0))) as image:
        assert (image.format, image.size) == ("WEBP", (32, 32))
    assert {"train", "evaluate"} <= set(json.loads(project.run("dvc", "status", "--json").stdout))


def test_what_the_bare_loop_trained_is_evaluated_and_released(project):
    folder, final = project.root / "out/bare", project.root / "checkpoints/final"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shards").symlink_to(project.root / "data/shards")
    in_project(
        project,
        "from pipelines.params import read_params\n"
        "settings = read_params(Path('params.yaml')).train.model_copy(update={'num_steps': 4})\n"
        "Path('out/bare/train.json').write_text(settings.model_dump_json())\n",
    )
    project.run(sys.executable, "-m", "lia_model.training.loop", "out/bare")
    shutil.rmtree(final)
    shutil.copytree(folder / "checkpoints/final", final)
    project.run("lia", "evaluate")
    trained = file_sha256(folder / "checkpoints/final" / GENERATOR)
    assert metric(project, "evaluate")["models"][0]["weights_sha256"] == trained
    printed = project.run("lia", "release").stdout
    assert re.match(r"lia version \d+: not promoted: not better than doing nothing: L1 0\.", printed)


def test_one_more_source_downloads_that_one_only(project, url):
    raw = project.root / "data/raw"
    before = {path.name: path.stat().st_mtime_ns for path in raw.glob("*.mp4")}
    project.set_sources([*sources(url), f"{url}/later.mp4,train"])
    project.run("dvc", "repro", "download")
    after = {path.name: path.stat().st_mtime_ns for path in raw.glob("*.mp4")}
    assert len(after) == len(before) + 1
    assert {name: after[name] for name in before} == before
    assert metric(project, "download")["verified"] == 3


def test_a_misspelt_key_is_one_line_and_nothing_starts(project):
    path = project.root / "params.yaml"
    good = path.read_text()
    path.write_text(good.replace("num_steps:", "num_step:"))
    failed = project.run("lia", "train", succeeds=False)
    path.write_text(good)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "train.num_step is not a key; did you mean train.num_steps?" in failed.stderr


def test_no_secret_is_in_a_file_or_on_a_command_line(project):
    home = in_project(project, "print(read_environment(Path.cwd()).paths.ray_home)").strip()
    token = project.root / "runs/ray/auth_token"
    secrets = [secret.encode() for secret in (*SECRETS.values(), token.read_text().strip())]
    skipped = (project.root / "models", project.root / "data/samples", token)
    looked_at, found = 0, []
    for folder in (project.root, Path(home)):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and not any(map(path.is_relative_to, skipped)):
                looked_at += 1
                content = path.read_bytes()
                found += [(path, secret) for secret in secrets if secret in content]
    assert looked_at > 1000
    assert not found
    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()).encode())
    # The servers that `lia up` started are among them.
    assert any(str(project.root).encode() in line for line in lines)
    assert not [line for line in lines if any(secret in line for secret in secrets)]


def test_ray_shows_no_secret(project):
    shown = shown_by_ray(project)
    # Stages of the loop ran on it.
    assert "RayTrainWorker" in shown["actors"]
    assert not [name for name, text in shown.items() if any(secret in text for secret in SECRETS.values())]
