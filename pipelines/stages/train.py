"""Stage train: trains on data/shards and writes checkpoints/final; losses and strips go to MLflow."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prefect import flow, get_run_logger, task

from lia_model.checkpoints.best import copy_best, read_best
from lia_model.checkpoints.file_hashes import verify_hashes
from lia_model.checkpoints.versions import TRAINING_JSON
from lia_model.registry.run_journal import curves, last_checkpoint
from lia_model.registry.run_sender import (
    RunSender,
    TrackingError,
    sending,
)
from lia_model.settings import TrainSettings
from lia_model.training.cluster.disk_use import expected_disk_use, require_space
from lia_model.training.pairs.damage import Damage
from lia_model.training.provenance import build_provenance, described_commit
from lia_model.training.state import require_network
from lia_model.training.tracking.step_trace import require_steps
from pipelines.environment import Environment
from pipelines.local.cluster import connected
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.train_progress import logged_progress
from pipelines.training_run import (
    located,
    opening,
    released_directory,
    require_files,
    require_shards,
    run_name,
    send,
    send_waiting,
)
from preprocessing.shards.clip_index import read_source_keys
from preprocessing.shards.manifest import Manifest, data_digest, read_manifest
from preprocessing.shards.stored_shards import fetch_listing
from preprocessing.storage.files import write_atomically, write_folder_atomically
from preprocessing.storage.lease import held_lease

if TYPE_CHECKING:
    from lia_model.training.cluster.worker import Fit

# Prefixes of the metrics that the training loop logs; evaluation logs others to the same run.
TRAINING_METRICS = ("loss/", "speed/", "data/", "gradient_norm/", "learning_rate/", "validation/")

logger = logging.getLogger(__name__)


class Cluster(NamedTuple):
    """Where the workers of a training run."""

    address: str | None
    """Of a running Ray cluster; None starts a private one."""
    host: str
    """Address that a private cluster binds."""
    correlation_id: str
    """Of the work that the training is part of."""


class StoreUrls(NamedTuple):
    """Object stores that the machines of a cluster reach."""

    checkpoints: str | None
    """Where Ray Train keeps them; None for a folder of the project."""
    shards: str | None
    """Where workers on other machines fetch them from; None for nowhere."""


def run_train(params: Params, environment: Environment, *, with_profile: bool = False) -> int:
    """Train, or go on with the run that the settings and the shards identify.

    Args:
        params: of the project.
        environment: of the project.
        with_profile: write a trace of some steps into the run's folder; the result stays the same.

    Raises:
        ValueError: there are no shards, a file that the settings name is missing or holds other networks,
            another process trains this run, or too few steps are left for a trace.
        StoreError: the storage of checkpoints cannot be read.
        ClusterError: the Ray cluster of LIA_RAY_ADDRESS does not answer, or refuses this process.
    """
    paths = environment.paths
    settings = located(params.train, paths.root)
    require_files(settings)
    environment.check_train_storage()
    environment.check_cluster()
    store = environment.store()
    if store is not None and not paths.shards.exists():
        fetch_listing(store, paths.shards)
    manifest = read_manifest(paths.shards)
    require_shards(settings, paths.shards, store)
    if settings.init_from is not None:
        shape = settings.network.at(manifest.size_px)
        require_network(Path(settings.init_from), shape, "train.init_from")
    name = run_name(settings, manifest)
    if with_profile:
        require_steps(last_checkpoint(paths.journal(name)), settings.num_steps)
    use = expected_disk_use(settings, manifest.size_px)
    storage_url = environment.train_storage_url
    if storage_url is None:
        require_space(use, paths.runs / "train", paths.runs / "train" / name)
    with held_lease(paths.lease(name), f"the run {name}"):
        logger.info("the training keeps %s in %s", use, f"{storage_url or paths.runs / 'train'}/{name}")
        train_flow(
            name,
            settings,
            manifest,
            paths,
            Cluster(environment.ray_address, environment.host, environment.correlation_id),
            StoreUrls(storage_url, environment.store_url),
            with_profile=with_profile,
        )
    return 0


@flow(name="train", flow_run_name="{name}", persist_result=False, validate_parameters=False)
def train_flow(
    name: str,
    settings: TrainSettings,
    manifest: Manifest,
    paths: ProjectPaths,
    cluster: Cluster,
    stores: StoreUrls,
    *,
    with_profile: bool = False,
) -> None:
    """Open the MLflow run, train, and publish the result.

    Args:
        name: of the run; a second flow of the same name resumes it.
        settings: with absolute paths.
        manifest: of the shards.
        paths: of the project.
        cluster: to train on.
        stores: the object stores of checkpoints and shards.
        with_profile: write a trace of some steps.
    """
    from lia_model.training.cluster.run_storage import RunStorage
    from lia_model.training.cluster.worker import Fit

    send_waiting(paths)
    commit = described_commit(paths.root)
    journal = paths.journal(name)
    sender = RunSender(journal)
    sources = read_source_keys(paths.shards, "train")
    sender.describe(
        opening(name, settings, manifest, sources, paths.artifacts, commit, cluster.correlation_id)
    )
    provenance = build_provenance(
        settings,
        manifest,
        # None as long as MLflow cannot be reached; the run is found by its name then.
        run_id=open_mlflow_run(sender),
        run_name=name,
        commit=commit,
    )
    work = Fit(
        settings=settings,
        shards=paths.shards,
        data_digest=data_digest(manifest),
        store_url=stores.shards,
        storage=RunStorage(stores.checkpoints or str(paths.runs / "train"), name),
        result=paths.runs / "train" / name / "result",
        provenance=provenance,
        journal=journal,
        with_profile=with_profile,
    )
    status = "FAILED"
    try:
        with sending(lambda: [sender]):
            checkpoint = fit_on_cluster(work, cluster, paths.ray_home)
            released = released_directory(paths.runs, sender.run_id or name)
            publish(checkpoint, journal, [released, paths.checkpoints / "final"], paths.metrics)
        status = "FINISHED"
    finally:
        sender.finish(status)
        send(sender)


@task(name="open MLflow run", persist_result=False)
def open_mlflow_run(sender: RunSender) -> str | None:
    """Open the run and return its id; None, with a warning, if MLflow cannot be reached."""
    try:
        return sender.send()
    except TrackingError as error:
        logger.warning("%s; training starts, and the run is opened when MLflow is back", error)
        return sender.run_id


@task(name="fit", persist_result=False)
def fit_on_cluster(work: Fit, cluster: Cluster, ray_home: Path) -> Path:
    """Train on a Ray cluster and return the folder of the last checkpoint.

    Args:
        work: what to train.
        cluster: to train on.
        ray_home: temporary folder of a private cluster.
    """
    from lia_model.training.cluster.worker import fit

    num_steps = work.settings.num_steps
    get_run_logger().info("training %s for %d steps", work.storage.name, num_steps)
    with (
        connected(cluster.address, ray_home, cluster.host, cluster.correlation_id),
        logged_progress(work.journal, num_steps),
    ):
        return fit(work)


@task(name="publish", persist_result=False)
def publish(checkpoint: Path, journal: Path, places: Sequence[Path], metrics: Path) -> None:
    """Copy the released generator to each of `places`, and the run's curves to `metrics`.

    Released is the best generator by validation, or the last one of a run without validation.
    """
    from lia_model.training.cluster.checkpoint_validation import RELEASED

    verify_hashes(checkpoint)
    best = read_best(checkpoint.parent)
    if best is not None:
        logger.info("releasing step %d, the best by validation: %s %.4f", best.step, best.metric, best.score)
    for place in places:
        if best is not None:
            copy_best(checkpoint.parent, place)
            continue
        with write_folder_atomically(place) as folder:
            shutil.copytree(checkpoint / RELEASED, folder, dirs_exist_ok=True)
    counters = json.loads((checkpoint / TRAINING_JSON).read_text())
    write_curves(journal, metrics, Damage.from_counters(counters))


def write_curves(journal: Path, metrics: Path, damage: Damage) -> None:
    """Write the training metrics: the last values to train.json, all steps to train.csv.

    Args:
        journal: of the run.
        metrics: folder to write to.
        damage: frames that did not decode, which train.json lists if there are any.
    """
    histories = curves(journal, TRAINING_METRICS)
    steps = sorted({step for history in histories.values() for step in history})
    metrics.mkdir(parents=True, exist_ok=True)
    last = {name: history[max(history)] for name, history in histories.items()}
    report = {"step": max(steps), **last, **damage.counters()}
    # Never into a file that is there: DVC may have linked it to its cache.
    with write_atomically(metrics / "train.json") as partial:
        partial.write_text(json.dumps(report, indent=1) + "\n")
    with write_atomically(metrics / "train.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *histories])
        writer.writerows([step, *(history.get(step, "") for history in histories.values())] for step in steps)
