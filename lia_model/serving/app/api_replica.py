"""The replica that answers HTTP, and how it asks another one for what a user waits for."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from lia_model.animation.media_check import MediaChecker
from lia_model.registry.licences import licences_in
from lia_model.registry.versions import versions_of
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.api import build_api
from lia_model.serving.app.config import (
    ServingConfig,
    heartbeat,
    loaded_marks,
    open_jobs,
    open_media,
    use_registry,
)
from lia_model.serving.http.access import is_loopback
from lia_model.serving.http.server import HttpServer
from lia_model.serving.interactive.direction_names import open_names
from lia_model.serving.interactive.live_model import FramedPicture, PictureFormat
from lia_model.serving.interactive.live_requests import LiveRequests, LiveTimeoutError
from lia_model.serving.interactive.routes import live_routes
from lia_model.serving.interactive.samples import samples_routes
from lia_model.serving.jobs.cleanup import Cleanup
from lia_model.serving.messages import Error
from lia_model.serving.models.catalog import ModelCatalog, Registered
from lia_model.serving.requests.limits import ApiLimits
from lia_model.serving.tracing import Tracing
from preprocessing.media.boxes import Box

logger = logging.getLogger(__name__)

LIVE_TIMEOUT_S = 60.0
"""How long a live call may take; the first one waits for the model to be loaded."""


class RemoteLiveModel:
    """Calls the live model of the replica that animates.

    Each call raises a LiveTimeoutError if no replica answers in time.
    """

    def __init__(self, animation: DeploymentHandle) -> None:
        self._animation = animation

    def describe(self) -> tuple[int, int]:
        """Return the number of directions and the side of a picture in pixels."""
        return self._ask("describe")

    def frame(self, path: Path, face: int | Literal["largest"], square: Box | None) -> FramedPicture | Error:
        """See `LiveModel.frame`."""
        return self._ask("frame", path, face, square)

    def paint(
        self, portrait_id: str, portrait: bytes, steps: Sequence[float], picture_format: PictureFormat
    ) -> bytes | Error:
        """See `LiveModel.paint`."""
        return self._ask("paint", portrait_id, portrait, steps, picture_format)

    def _ask(self, call: str, *arguments: object) -> Any:  # noqa: ANN401 - as the method returns
        try:
            return self._animation.live.remote(call, *arguments).result(timeout_s=LIVE_TIMEOUT_S)
        except (RayError, RayServeException, TimeoutError) as error:
            logger.warning("the live call %s failed: %r", call, error)
            raise LiveTimeoutError from None


def model_catalog(config: ServingConfig) -> ModelCatalog:
    """Return the models that requests may ask for."""
    is_loaded = loaded_marks(config).is_loaded
    if config.registry is None:
        return ModelCatalog(config.model, is_loaded=is_loaded)

    def read() -> dict[str, Registered]:
        return {
            one.version: Registered(one.aliases, licences_in(one.tags))
            for one in versions_of(config.model.name)
        }

    return ModelCatalog(config.model, config.alias, read, is_loaded)


class AnimationApi:
    """Answers HTTP, and asks the other replica for what a user waits for."""

    def __init__(self, config: ServingConfig, animation: DeploymentHandle, host: str, port: int) -> None:
        """Start the server.

        Raises:
            OSError: another program listens at `host`:`port`.
        """
        use_registry(config)
        limits = ApiLimits(
            folders=config.folders,
            media=open_media(config),
            tokens=Tokens(TokenFile(config.token_file), config.token, is_public=not is_loopback(host)),
            max_upload_bytes=config.max_upload_bytes,
            max_num_queued=config.max_num_queued,
            max_num_batch_items=config.max_num_batch_items,
            requests=config.requests,
            max_stored_bytes=config.max_stored_bytes,
        )
        check = MediaChecker(config.media).check
        live = LiveRequests(
            RemoteLiveModel(animation),
            open_names(config.model, config.registry_uri, config.checkpoint, config.home),
            config.model,
            config.media_folder,
            check,
        )
        routes = (live_routes(live), samples_routes(config.samples))
        jobs = open_jobs(config)
        # Once, and not in each of the replicas that animate.
        self._cleanup = Cleanup(jobs, limits.media, config.keep_s, config.max_stored_bytes)
        catalog = model_catalog(config)
        # The first reading imports MLflow, for which no request should wait.
        catalog.default()
        api = build_api(jobs, catalog, limits, check, heartbeat(config), routes)
        self._tracing = Tracing(config.telemetry)
        self._tracing.watch(api)
        self._server = HttpServer(api, host, port)
        self._server.start()
        self._cleanup.start()

    def check_health(self) -> None:
        """Raise if the server has ended, which makes Ray start another replica.

        Raises:
            RuntimeError: the server has ended.
        """
        if not self._server.is_alive:
            raise RuntimeError("the HTTP server has ended")

    def __del__(self) -> None:
        """Free the port."""
        if hasattr(self, "_server"):
            self._server.stop()
            self._cleanup.stop()
            self._tracing.close()
