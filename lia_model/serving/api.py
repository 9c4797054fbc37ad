"""The HTTP interface, version 1, as a FastAPI application.

Handlers are plain functions, which FastAPI runs in threads, so that files and the job store do not block the
event loop. Nothing is computed here.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, no_type_check

from fastapi import APIRouter, Depends, FastAPI, Form, Header, Query, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse, Response

from lia_model.animation.options import read_options
from lia_model.serving.access.scopes import Caller
from lia_model.serving.errors import RefusalError, add_error_handlers, bad_field, refusals
from lia_model.serving.http.access import AccessMiddleware, caller_of
from lia_model.serving.http.body_limits import BodyMiddleware
from lia_model.serving.http.form import form_fields
from lia_model.serving.http.head_requests import HeadMiddleware
from lia_model.serving.http.metrics import TEXT_FORMAT, Metrics, MetricsMiddleware
from lia_model.serving.http.openapi import describe
from lia_model.serving.http.page_files import PageMiddleware
from lia_model.serving.http.query import require_known_query
from lia_model.serving.http.request_rates import RateMiddleware
from lia_model.serving.http.security_headers import SecurityHeadersMiddleware
from lia_model.serving.http.unread_bodies import UnreadBodyMiddleware
from lia_model.serving.http.video_answer import VideoAnswer
from lia_model.serving.jobs import JobStore
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.messages import (
    PROJECT_HEADER,
    AnimationAccepted,
    AnimationList,
    AnimationStatus,
    BatchAccepted,
    BatchRequest,
    BatchStatus,
    Health,
    JobStatus,
    ModelList,
    Priority,
    project_mark,
)
from lia_model.serving.models.catalog import ModelCatalog
from lia_model.serving.requests.animations import AnimationRequests, Choice
from lia_model.serving.requests.batches import BatchRequests
from lia_model.serving.requests.limits import ApiLimits
from lia_model.serving.requests.submission import Submission
from lia_model.serving.uploads import MediaCheck, require_known_fields, require_multipart
from preprocessing.correlation import CorrelationId

Who = Annotated[Caller, Depends(caller_of)]
"""Parameter of a handler: who sent the request."""
MAX_PAGE = 200
"""Most animations of one page."""


def build_api(
    jobs: JobStore,
    catalog: ModelCatalog,
    limits: ApiLimits,
    check: MediaCheck,
    workers: Heartbeat,
    more_routes: Sequence[APIRouter] = (),
) -> FastAPI:
    """Build the application over a job store; `workers` elsewhere animate, and `check` looks at uploads."""
    api = FastAPI(
        title="Open LIA animations",
        version="1",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(require_known_query)],
    )
    submission = Submission(jobs, catalog, limits)
    api.include_router(_animations(AnimationRequests(submission, check)))
    api.include_router(_batches(BatchRequests(submission)))
    metrics = Metrics(jobs, workers)
    api.include_router(_metrics(metrics))
    api.include_router(_about(jobs, catalog, project_mark(limits.folders.root), workers))
    for routes in more_routes:
        api.include_router(routes)
    # The last one added sees a request first.
    api.add_middleware(HeadMiddleware)
    api.add_middleware(BodyMiddleware, max_body_bytes=limits.max_upload_bytes, limits=limits.requests)
    api.add_middleware(AccessMiddleware, tokens=limits.tokens)
    # Before access is checked: the page itself asks for the token.
    api.add_middleware(PageMiddleware)
    api.add_middleware(RateMiddleware, max_per_s=limits.requests.max_requests_per_s)
    api.add_middleware(SecurityHeadersMiddleware)
    api.add_middleware(MetricsMiddleware, metrics=metrics)
    api.add_middleware(UnreadBodyMiddleware)
    add_error_handlers(api)
    api.openapi = partial(describe, api)
    return api


def _choice(
    model: Annotated[str | None, Form()] = None,
    priority: Annotated[Priority, Form()] = 0,
    x_correlation_id: Annotated[CorrelationId | None, Header()] = None,
) -> Choice:
    return Choice(model, priority, x_correlation_id)


def _animations(requests: AnimationRequests) -> APIRouter:
    router = APIRouter(prefix="/v1/animations", tags=["animations"], responses=refusals(401, 404))

    @router.post(
        "",
        status_code=202,
        dependencies=[Depends(require_multipart), Depends(require_known_fields)],
        responses=refusals(400, 413, 415, 422, 429),
    )
    # FastAPI wants its own class and passes Starlette's, which the shape checks of the tests refuse.
    @no_type_check
    def create(
        caller: Who,
        source: UploadFile,
        driving: UploadFile,
        fields: Annotated[dict[str, Any], Depends(form_fields())],
        chosen: Annotated[Choice, Depends(_choice)],
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
    ) -> AnimationAccepted:
        """Animate the portrait `source` by the motion of `driving`, each an image or a video.

        `model` is a version or an alias, such as `lia/3` or `lia@champion`, of `GET /v1/models`. Of one's own
        uploads that wait, those of the highest `priority` start first.

        `driving` may also be a motion file of `lia motion extract`, made by the same model. A request that is
        sent again with the same `Idempotency-Key` gets the job of the first one. `X-Correlation-ID` names the
        work that it is part of; the job's status and log lines tell it.
        """
        try:
            options = read_options(fields)
        except ValueError as error:
            raise bad_field("options", str(error)) from None
        return requests.accept(caller, source, driving, options, chosen, idempotency_key)

    @router.get("", responses=refusals(422))
    def list_newest(
        caller: Who,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
        status: JobStatus | None = None,
        before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    ) -> AnimationList:
        """List one's own animations, the newest first; an admin's list has everybody's.

        `next` of the answer is the URL of the next page.
        """
        return requests.list_newest(caller, limit, status, before)

    @router.get("/{job_id}")
    def read(caller: Who, job_id: str) -> AnimationStatus:
        """Return the status of an animation."""
        return requests.status(caller, job_id)

    @router.get("/{job_id}/video", response_class=FileResponse, responses=refusals(409))
    def read_video(caller: Who, job_id: str) -> FileResponse:
        """Return the finished mp4, or the requested byte range of it."""
        return VideoAnswer(requests.video(caller, job_id), media_type="video/mp4")

    @router.delete("/{job_id}", status_code=204, responses=refusals(409))
    def delete(caller: Who, job_id: str) -> None:
        """Cancel an animation that has not ended; remove one that has. Its files are deleted either way."""
        requests.delete(caller, job_id)

    return router


def _batches(requests: BatchRequests) -> APIRouter:
    router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=refusals(401, 404))

    @router.post("", status_code=202, responses=refusals(422, 429))
    def create(
        caller: Who,
        request: BatchRequest,
        x_correlation_id: Annotated[CorrelationId | None, Header()] = None,
    ) -> BatchAccepted:
        """Animate files on the server's own disk; each gives one mp4 in the output folder."""
        return requests.accept(caller, request, x_correlation_id)

    @router.get("/{batch_id}")
    def read(caller: Who, batch_id: str) -> BatchStatus:
        """Return the status of a batch and of each of its items."""
        return requests.status(caller, batch_id)

    return router


def _metrics(metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["about"])

    @router.get("/metrics", response_class=PlainTextResponse, responses=refusals(401, 503))
    def read() -> Response:
        """Return the service's figures for Prometheus; any token may read them."""
        return Response(metrics.text(), media_type=TEXT_FORMAT)

    return router


def _about(jobs: JobStore, catalog: ModelCatalog, project: str, workers: Heartbeat) -> APIRouter:
    router = APIRouter(tags=["about"])

    @router.get("/healthz", responses=refusals(503))
    def health(answer: Response) -> Health:
        """Answer while the service accepts jobs and a worker animates them."""
        jobs.num_queued()
        if not workers.is_heard():
            raise RefusalError(
                503,
                "no_worker",
                "no worker lives; jobs are accepted and wait until one is back",
                {PROJECT_HEADER: project},
            )
        answer.headers[PROJECT_HEADER] = project
        return Health(status="ok")

    @router.get("/v1/models", responses=refusals(401))
    def models() -> ModelList:
        """List the models that this server animates with."""
        return ModelList(models=[catalog.default()], available=catalog.available())

    return router
