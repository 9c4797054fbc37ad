"""`lia serve`: deploys the animation service on Ray, in the foreground or detached."""

import logging
import os
import time
import urllib.error
from pathlib import Path

from lia_model.animator import Animator
from lia_model.checkpoints.crop_record import read_crop
from lia_model.registry import models
from lia_model.registry.golden_pair import fetch_golden_pair, require_golden_result
from lia_model.registry.licences import licences_in
from lia_model.registry.models import alias_in
from lia_model.registry.tracking_variables import passed_on
from lia_model.serving.access.batch_folders import BatchFolders
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.app import ServingConfig, WithdrawError, deploy, is_deployed, withdraw
from lia_model.serving.database import open_database, parse_url, sqlite_url
from lia_model.serving.http.access import is_loopback
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.messages import LOCAL_VERSION, ModelVersion
from lia_model.serving.tracing import telemetry_variables
from lia_model.settings import ServeSettings
from pipelines.commands.service_address import (
    is_answered_by,
    require_address,
    runs_here,
    url_of,
    without_proxy,
)
from pipelines.environment import Environment
from pipelines.forgotten_sources import warn_of_forgotten
from pipelines.local.cluster import connected, joined
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from preprocessing.clips.crop import shows_faces
from preprocessing.download.credentials import mask_credentials
from preprocessing.faces.detector import require_models

logger = logging.getLogger(__name__)

_ANSWER_TIMEOUT_S = 20
_WATCH_S = 2
"""Time between two looks at a service in the foreground."""


class ServiceSilentError(Exception):
    """The service does not answer at its address."""


def service_config(params: Params, environment: Environment, model: str) -> ServingConfig:
    """Return the service's configuration for `model`, and log the licences that limit its use.

    Raises:
        ValueError: see `make_config` and `database_url`.
    """
    database = database_url(params, environment)
    config = make_config(params, environment.paths, environment.api_token, model, database)
    config = config.model_copy(update={"telemetry": telemetry_variables(os.environ)})
    if environment.media_store_url is not None:
        config = config.model_copy(update={"media_store": environment.media_store_url})
    if config.model.version != LOCAL_VERSION:
        registry = passed_on(environment.mlflow_tracking_uri, os.environ)
        config = config.model_copy(update={"registry": registry, "alias": alias_in(model)})
        for line in licence_lines(config.model):
            logger.info("%s", line)
        check_golden_pair(config.model, config.checkpoint, config.golden_folder)
    return config


def run_serve(
    params: Params, environment: Environment, host: str, port: int, model: str, block: bool = True
) -> None:
    """Serve `model` at `host`:`port`.

    Args:
        params: settings.
        environment: the project's paths and addresses; its running Ray head is used if there is one.
        host: address to bind; one other than loopback requires a token.
        port: port to bind.
        model: checkpoint directory or model URI; an alias is resolved once, at start.
        block: run until interrupted, then withdraw the service. False returns once it is healthy and leaves
            it on the running Ray head.

    Raises:
        ValueError: a public address without a token, a taken port, a missing model or detector, or `block`
            is False without a running Ray head.
        DatabaseError: the database cannot be opened.
        ServiceSilentError: the service does not answer at the address within 20 s, or ends meanwhile.
        GoldenPairError: the version gives another result than it did when it was released.
    """
    require_token_beyond_loopback(host, environment)
    if not block and environment.ray_address is None:
        raise ValueError("got no running Ray head; a detached service needs one: start it with `lia up`")
    require_address(environment, host, port)
    config = service_config(params, environment, model)
    if runs_here(environment):
        # Before a service that works is replaced by one that cannot.
        open_database(config.database).close()
    with connected(environment.ray_address, environment.paths.ray_home, environment.host):
        deploy(config, host, port)
        url = url_of(host, port)
        _wait_until_healthy(url)
        logger.info("serving %s version %s at %s", config.model.name, config.model.version, url)
        if block:
            _wait_for_interrupt(url, environment.paths.root)
            withdraw()


def licence_lines(model: ModelVersion) -> list[str]:
    """Return a line for each licence that limits the use of a registered version, as its tags record them."""
    licences = licences_in(models.version_tags(model.name, model.version))
    return [
        f"licence of {model.name} version {model.version}, {part}: {note}" for part, note in licences.items()
    ]


def check_golden_pair(model: ModelVersion, checkpoint: Path, folder: Path) -> None:
    """Check a registered version with its golden pair, before a replica loads it; without a pair, warn.

    Args:
        model: the version.
        checkpoint: its directory.
        folder: where the pair is left for the replicas, which check on their own device.

    Raises:
        GoldenPairError: the version gives another result than it did when it was released.
    """
    if fetch_golden_pair(model.name, model.version, folder) is None:
        logger.warning(
            "%s cannot be checked, since it has no golden pair: `lia release` has not judged it, or the pair "
            "showed a video taken down",
            model.uri,
        )
        return
    require_golden_result(model.name, model.version, folder, Animator.load(checkpoint).animate)


def end_service(environment: Environment) -> None:
    """Withdraw the service from the project's own Ray head, before that is stopped, if it animates.

    A service that cannot be withdrawn is left to end with the head; a job that it held starts again once its
    lease has run out, and counts as lost.
    """
    heartbeat = Heartbeat(environment.paths.runs / "serving" / "worker")
    if environment.ray_address is None or not environment.uses_own_ray or not heartbeat.is_heard():
        return
    logger.info("ending the animation service; a job in progress may take up to serve.drain_s")
    try:
        with joined(environment.ray_address):
            withdraw()
    except (WithdrawError, ConnectionError) as error:
        logger.warning("the animation service is stopped without regard to its jobs: %s", error)


def require_token_beyond_loopback(host: str, environment: Environment) -> None:
    """Require a token for any address that other machines can reach.

    Raises:
        ValueError: `host` is not a loopback address, and there is no token.
        TokenFileError: the file of the tokens cannot be read.
    """
    if is_loopback(host) or environment.api_token is not None:
        return
    if not TokenFile(environment.paths.service_tokens).read():
        raise ValueError(
            f"got host {host} without a token; only loopback (127.0.0.1) is allowed without one: create one "
            "with `lia token create`, or omit --host"
        )


def database_url(params: Params, environment: Environment) -> str:
    """Return the URL of the service's database.

    Raises:
        ValueError: it is of an unknown kind, or the setting holds a password.
    """
    setting = params.serve.database
    if setting is not None and mask_credentials(setting) != setting:
        raise ValueError(
            f"got {mask_credentials(setting)} in serve.database, which is kept in git; allowed is a URL "
            "without a password: set LIA_DATABASE_URL to the whole URL"
        )
    url = environment.database_url or setting
    if url is None:
        return sqlite_url(environment.paths.runs / "serving" / "jobs.sqlite")
    parse_url(url)
    return url


def make_config(
    params: Params, paths: ProjectPaths, token: str | None, model: str, database: str
) -> ServingConfig:
    """Resolve the model and the detector, and make every path absolute.

    Raises:
        ValueError: the model does not exist, or needs the detector, which does not, results of batches
            could replace the project's own files, or several machines would share a SQLite file.
    """
    _require_database_of_several_machines(database, params.serve)
    detector = paths.root / params.serve.detector
    found = models.resolve(model)
    warn_of_forgotten(found, paths.tombstones)
    if shows_faces(read_crop(found.directory).rule):
        require_models(detector)
    folders = BatchFolders(
        root=paths.root,
        inputs=tuple(paths.root / folder for folder in params.serve.batch_inputs),
        outputs=tuple(paths.root / folder for folder in params.serve.batch_outputs),
    )
    folders.require_apart_from_the_project()
    detect = params.shards.detect
    return ServingConfig(
        checkpoint=found.directory,
        model=ModelVersion(name=found.name, version=found.version or LOCAL_VERSION),
        home=paths.runs / "serving",
        database=database,
        media_store=params.serve.media_store,
        samples=paths.samples,
        folders=folders,
        token=token,
        token_file=paths.service_tokens,
        max_upload_bytes=params.serve.max_upload_bytes,
        max_num_queued=params.serve.max_num_queued,
        max_num_batch_items=params.serve.max_num_batch_items,
        media=params.serve.media,
        keep_s=3600 * params.serve.keep_hours,
        max_stored_bytes=params.serve.max_stored_bytes,
        requests=params.serve.requests,
        batch_size=params.serve.batch_size,
        max_num_models=params.serve.max_num_models,
        replicas=params.serve.replicas,
        num_jobs_at_once=params.serve.num_jobs_at_once,
        drain_s=params.serve.drain_s,
        shared_storage=params.serve.shared_storage,
        num_threads=params.serve.replica_threads(),
        compilation=params.serve.compilation,
        video_decoder=params.serve.video_decoder,
        video_encoder=params.serve.video_encoder,
        detector=detector,
        min_score=detect.min_score,
        pad_px=detect.pad_px,
        every_num_frames=detect.every_num_frames,
    )


def _require_database_of_several_machines(database: str, settings: ServeSettings) -> None:
    if settings.shared_storage and parse_url(database).get_backend_name() == "sqlite":
        raise ValueError(
            "got serve.shared_storage with a SQLite file, which is for one machine; several need PostgreSQL: "
            "set serve.database or LIA_DATABASE_URL, or serve.shared_storage: false"
        )


def _wait_until_healthy(url: str) -> None:
    opener = without_proxy()
    deadline_s = time.monotonic() + _ANSWER_TIMEOUT_S
    while True:
        try:
            with opener.open(f"{url}/healthz", timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline_s:
                raise ServiceSilentError(
                    f"the service is deployed but does not answer at {url} ({error}): see its log in Ray's "
                    "dashboard"
                ) from None
            time.sleep(0.2)


def _wait_for_interrupt(url: str, root: Path) -> None:
    """Return on Ctrl-C or SIGTERM, which interrupts a process that is connected to Ray too.

    Raises:
        ServiceSilentError: meanwhile the service was stopped, or the cluster was.
    """
    last_answer_s = time.monotonic()
    try:
        while True:
            time.sleep(_WATCH_S)
            if is_answered_by(url, root):
                last_answer_s = time.monotonic()
            # Serve starts a process that has failed again.
            elif time.monotonic() - last_answer_s > _ANSWER_TIMEOUT_S and not is_deployed(_ANSWER_TIMEOUT_S):
                raise ServiceSilentError(
                    f"the service at {url} has ended, by `lia stop` or with its Ray head; queued jobs are "
                    "kept: start it again with `lia serve`"
                )
    except KeyboardInterrupt:
        logger.info("stopping")
