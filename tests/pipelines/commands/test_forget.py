"""`lia forget` on a real project: DVC's cache and a remote, two committed versions, MLflow."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases, models
from lia_model.registry.run_journal import RunJournal
from lia_model.registry.run_sender import RunSender
from lia_model.registry.runs import Run
from lia_model.settings import NetworkSettings
from pipelines.commands.forget import RebuildError, rebuild
from pipelines.environment import read_environment
from pipelines.params import read_params
from pipelines.project_paths import ProjectPaths
from pipelines.training_run import opening
from preprocessing.ledger import count_sources, read_clip_rows, read_source_rows
from preprocessing.shards.clip_index import read_source_keys
from preprocessing.shards.manifest import read_manifest
from preprocessing.sources.source import source_key
from tests.conftest import Project

pytestmark = pytest.mark.slow
COMMIT = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--all")


@pytest.fixture(scope="module")
def keys(samples_url):
    return {name: source_key(f"{samples_url}/{name}") for name in ("single_face.mp4", "face_noface.mov")}


@pytest.fixture(scope="module")
def project(new_project, samples_url):
    """Two committed and pushed versions of a data set of two people, kept in a store too."""
    project = new_project("forget")
    project.variables["LIA_STORE_URL"] = f"file://{project.root}/runs/store"
    rows = ["single_face.mp4,sitter,train", "face_noface.mov,other,train"]
    lines = ["url,identity,split", *(f"{samples_url}/{row}" for row in rows)]
    (project.root / "data/sources.csv").write_text("\n".join(lines) + "\n")
    project.run("lia", "up", "prefect")
    lines = project.run("lia", "env").stdout.splitlines()
    exports = (line.removeprefix("export ").replace("'", "").split("=", 1) for line in lines)
    project.variables.update(dict(exports))
    # Both are kept, in a tar each, so that one of them need not change.
    settings = {"shard_bytes": 1, "identity.models": None, "quality.min_duplicate_similarity": None}
    project.set_params({f"shards.{name}": value for name, value in settings.items()})
    for quality in (90, 95):
        project.set_params({"shards.jpeg_quality": quality})
        project.run("dvc", "repro", "shards")
        project.run("git", "add", ".")
        project.run(*COMMIT, "--message", f"quality {quality}")
        project.run("dvc", "push", "shards", "download")
    return project


@pytest.fixture(scope="module")
def registered(project):
    """A registered model of a run on both, with a sample strip."""
    environment = read_environment(project.root, project.variables)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(environment.mlflow_tracking_uri)
    manifest = read_manifest(environment.paths.shards)
    settings = read_params(project.root / "params.yaml").train
    sender = RunSender(environment.paths.journal("both"))
    sources = read_source_keys(environment.paths.shards, "train")
    sender.describe(
        opening("both", settings, manifest, sources, environment.paths.artifacts, "abc", "work-7")
    )
    run = Run(sender.send())
    RunJournal(environment.paths.journal("both")).add_picture("strip", 2, np.zeros((8, 8, 3), np.uint8))
    run.log_image("strip", 1, np.zeros((8, 8, 3), np.uint8))
    generator = build_generator(
        NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4), seed=1
    )
    save_generator(project.root / "runs/final", generator, {"run_id": run.run_id})
    version = models.register("lia", project.root / "runs/final", run.run_id, {})
    aliases.set_alias("lia", aliases.CHAMPION, version)
    yield run
    mlflow.set_tracking_uri(before)


def digests(root: Path) -> dict[str, list[Path]]:
    """Return all files of a project by the hash of their bytes, without those that its server offers."""
    found: dict[str, list[Path]] = {}
    for path in root.rglob("*"):
        if path.is_file() and root / "data/samples" not in path.parents:
            found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), []).append(path)
    return found


def test_nothing_of_a_person_is_left_and_everything_of_the_other_is(project: Project, registered, keys):
    root = project.root
    gone, kept = keys["single_face.mp4"], keys["face_noface.mov"]
    own = [path for place in ("raw", "tracks") for path in (root / "data" / place).glob(f"{gone}*")]
    index = dict(np.load(root / "data/shards/train/index.npz"))
    tars = {
        str(key).split("-")[0]: root / "data/shards/train" / index["tars"][tar]
        for key, tar in zip(index["clip_key"], index["clip_tar"], strict=True)
    }
    assert len(set(tars.values())) == 2
    own += [tars[gone], root / "data/shards/report.html"]
    of_other = [path for place in ("raw", "tracks") for path in (root / "data" / place).glob(f"{kept}*")]
    of_other.append(tars[kept])
    before = digests(root)
    wanted = {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in own}
    others = {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in of_other}
    assert len(own) == 5
    # Each lies in the project, in the cache, in the remote and in the store.
    assert all(len(before[digest]) == 4 for digest in wanted)

    refused = project.run("lia", "forget", "nobody", "--yes", succeeds=False)
    assert "got 'nobody', which is no URL, key, source_id or identity" in refused.stderr
    printed = project.run("lia", "forget", "sitter", "--yes").stdout

    after = digests(root)
    assert {name for digest, name in wanted.items() if digest in after} == set()
    assert {name for digest, name in others.items() if len(after.get(digest, [])) < 4} == set()
    assert not [path for path in root.rglob(f"*{gone}*") if ".git" not in path.parts]
    assert "trained on it, and kept: run both (lia 1 (champion))" in printed
    assert f"removed from the store: raw/{gone}" in printed
    assert "quality 90" in printed
    assert "quality 95" in printed
    assert registered.file_names("") == ["data"]
    assert f"{gone}," in (root / "data/tombstones.csv").read_text()

    rows = read_source_rows(root / "data/ledger/sources.parquet")
    counts = count_sources(rows)
    assert (counts["verified"], counts["forgotten"]) == (1, 1)
    assert {row.source_key for row in read_clip_rows(root / "data/ledger/clips.parquet")} == {kept}
    assert read_source_keys(root / "data/shards", "train") == [kept]


def test_a_video_taken_down_does_not_come_back(project: Project, keys):
    for folder in ("data/raw", "data/tracks", "data/shards"):
        shutil.rmtree(project.root / folder)
    project.run("dvc", "repro", "shards", "--force")
    manifest = json.loads((project.root / "data/shards/manifest.json").read_text())
    assert manifest["counts"]["sources"]["forgotten"] == 1
    assert not list((project.root / "data/raw").glob(f"{keys['single_face.mp4']}*"))
    # By its URL or key a second time: nothing is left to remove, and the models are named again.
    printed = json.loads(project.run("lia", "forget", keys["single_face.mp4"], "--yes", "--json").stdout)
    assert set(printed["videos"]) == {keys["single_face.mp4"]}
    assert not any(printed[kind] for kind in ("files", "shards", "bundles", "pictures"))
    assert not any(printed["copies"]["objects"].values())
    assert [(run["name"], run["versions"]) for run in printed["runs"]] == [("both", ["lia 1 (champion)"])]


def test_nothing_is_removed_if_a_remote_cannot_be_searched(project: Project, keys):
    project.run("dvc", "remote", "add", "--local", "far", "s3://bucket/far")
    refused = project.run("lia", "forget", "other", "--yes", succeeds=False)
    project.run("dvc", "remote", "remove", "--local", "far")
    assert "DVC's remotes cannot be read" in refused.stderr
    assert list((project.root / "data/raw").glob(f"{keys['face_noface.mov']}*"))


def test_nothing_is_removed_while_dvc_runs(project: Project, keys):
    held = (
        "import time; from dvc.repo import Repo\nwith Repo().lock: print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        (sys.executable, "-c", held), cwd=project.root, env=project.variables, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        refused = project.run("lia", "forget", "other", "--yes", succeeds=False)
        holder.kill()
    assert "DVC is at work in this project" in refused.stderr
    assert list((project.root / "data/raw").glob(f"{keys['face_noface.mov']}*"))
    assert keys["face_noface.mov"] not in (project.root / "data/tombstones.csv").read_text()


def test_a_failed_rebuild_says_that_the_removal_is_complete(tmp_path):
    paths, variables = ProjectPaths(tmp_path), {"DVC_NO_ANALYTICS": "1"}
    rebuild(paths, variables)  # no stage has run yet, so there is nothing to rebuild
    paths.ledger.mkdir(parents=True)
    paths.source_ledger.touch()
    told = r"everything is removed, but .* \(ERROR: .*\); fix that and run `dvc repro download`"
    with pytest.raises(RebuildError, match=told):
        rebuild(paths, variables)
