"""The HTTP interface, version 1, as a FastAPI application: it takes orders and answers questions.

Handlers are plain functions, which FastAPI runs in threads, so that files and the store never hold up the
event loop. Nothing is computed here. Every refusal is JSON: `{"error": {"code", "message"}}`.
"""

import hmac
import logging
import mimetypes
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, no_type_check

from fastapi import APIRouter, Depends, FastAPI, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.datastructures import Headers
from starlette.datastructures import UploadFile as Upload
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lia_model.animation.footage import UnreadableMediaError, media_kind, require_media
from lia_model.animation.options import AnimationOptions, read_options
from lia_model.serving.form import form_fields
from lia_model.serving.jobs import (
    Job,
    JobStore,
    Order,
    QueueFullError,
    count,
    make_durable,
    new_id,
    summarize,
)
from lia_model.serving.messages import (
    AnimationAccepted,
    AnimationLinks,
    AnimationStatus,
    BatchAccepted,
    BatchItem,
    BatchItemStatus,
    BatchLinks,
    BatchRequest,
    BatchStatus,
    Error,
    ErrorAnswer,
    Health,
    JobStatus,
    ModelList,
    ModelVersion,
)

logger = logging.getLogger(__name__)

OPEN_PATHS = ("/healthz",)
RETRY_AFTER_S = 5
_COPY_BYTES = 1 << 20
_CODES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    416: "bad_range",
}


@dataclass(frozen=True)
class ApiLimits:
    """What the interface allows."""

    root: Path
    """Folder under which a batch may read and write."""
    media: Path
    """Folder for uploads and their results."""
    token: str | None
    """Bearer token asked for on everything but the health check; None asks for none."""
    max_upload_bytes: int
    """Largest request body."""
    max_num_queued: int
    """Most jobs that may wait."""


class RefusalError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Say what the answer is."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def build_api(jobs: JobStore, model: ModelVersion, limits: ApiLimits) -> FastAPI:
    """Build the application over a job store; workers elsewhere do the jobs."""
    api = FastAPI(title="Open LIA animations", version="1", docs_url=None, redoc_url=None)
    api.include_router(_animations(Desk(jobs, model, limits)))
    api.include_router(_batches(Desk(jobs, model, limits)))
    api.include_router(_about(jobs, model))
    api.add_middleware(Gate, token=limits.token, max_body_bytes=limits.max_upload_bytes)
    api.add_exception_handler(RefusalError, _on_refusal)
    api.add_exception_handler(HTTPException, _on_http_error)
    api.add_exception_handler(RequestValidationError, _on_bad_field)
    api.add_exception_handler(Exception, _on_accident)
    return api


class Desk:
    """Turns requests into jobs, and jobs into answers."""

    def __init__(self, jobs: JobStore, model: ModelVersion, limits: ApiLimits) -> None:
        """Hand in the store, what answers, and what is allowed."""
        self.jobs = jobs
        self.model = model
        self.limits = limits

    def accept(self, source: Upload, driving: Upload, options: AnimationOptions) -> AnimationAccepted:
        """Keep the uploads and queue their animation; both are on the disk when this returns."""
        job_id = new_id()
        folder = self.limits.media / job_id
        folder.mkdir(parents=True)
        try:
            paths = {"source": folder / "source", "driving": folder / "driving"}
            for (name, path), upload in zip(paths.items(), (source, driving), strict=True):
                _keep(upload, name, path)
            make_durable(folder)
            make_durable(folder.parent)
            order = Order(paths["source"], paths["driving"], folder / "video.mp4", options, self.model)
            self._submit({job_id: order}, batch=None)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return AnimationAccepted(id=job_id, status=JobStatus.QUEUED, links=_links(job_id))

    def accept_batch(self, request: BatchRequest) -> BatchAccepted:
        """Queue a batch's items; those whose files are missing fail at once, by themselves."""
        if len(request.items) > self.limits.max_num_queued:
            raise _bad_field(
                "items", f"{len(request.items)} are too many; send at most {self.limits.max_num_queued}"
            )
        output = self._allowed("output", request.output)
        names = [
            f"{index:05d}" if item.name is None else item.name for index, item in enumerate(request.items)
        ]
        if len(set(names)) < len(names):
            raise _bad_field("items", "two items have one name; give each its own")
        orders = {
            new_id(): self._order(f"items.{index}", item, output / f"{name}.mp4")
            for index, (item, name) in enumerate(zip(request.items, names, strict=True))
        }
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _bad_field(
                "output", f"{request.output} cannot be made a folder ({error.strerror})"
            ) from None
        batch = new_id()
        self._submit(orders, batch)
        return BatchAccepted(id=batch, status=self.batch_status(batch).status, links=_batch_links(batch))

    def find(self, job_id: str) -> Job:
        """Return the job, or refuse."""
        job = self.jobs.get(job_id)
        if job is None:
            raise RefusalError(404, "not_found", f"there is no animation {job_id}")
        return job

    def video(self, job_id: str) -> Path:
        """Return the finished video, or refuse."""
        job = self.find(job_id)
        if job.status is not JobStatus.SUCCEEDED:
            raise RefusalError(
                409, "not_ready", f"the animation is {job.status}; a video comes when it has succeeded"
            )
        if not job.order.output.is_file():
            raise RefusalError(404, "not_found", "the video was removed")
        return job.order.output

    def drop(self, job_id: str) -> None:
        """Cancel a job that has not ended; forget one that has, with its files."""
        job = self.find(job_id)
        was_active = self.jobs.cancel(job_id)
        if job.batch is None:
            shutil.rmtree(self.limits.media / job_id, ignore_errors=True)
            if not was_active:
                self.jobs.remove(job_id)
        elif not was_active:
            raise RefusalError(
                409, "in_batch", "it has ended and belongs to a batch, whose files are yours to delete"
            )

    def batch_status(self, batch: str) -> BatchStatus:
        """Say how the batch and each of its items stand, or refuse."""
        found = self.jobs.get_batch(batch)
        if not found:
            raise RefusalError(404, "not_found", f"there is no batch {batch}")
        counts = count([job.status for job in found])
        items = [_item_status(index, job) for index, job in enumerate(found)]
        return BatchStatus(
            id=batch, status=summarize(counts), counts=counts, items=items, links=_batch_links(batch)
        )

    def _submit(self, orders: Mapping[str, Order], batch: str | None) -> None:
        try:
            self.jobs.submit(orders, self.limits.max_num_queued, batch)
        except QueueFullError:
            raise RefusalError(
                429,
                "queue_full",
                f"no more than {self.limits.max_num_queued} jobs may wait; try again later",
                {"Retry-After": str(RETRY_AFTER_S)},
            ) from None

    def _order(self, field: str, item: BatchItem, output: Path) -> Order:
        source = self._allowed(f"{field}.source", item.source)
        driving = self._allowed(f"{field}.driving", item.driving)
        missing = next((path for path in (source, driving) if not path.is_file()), None)
        error = None if missing is None else Error(code="not_found", message=f"there is no file {missing}")
        return Order(source, driving, output, item.options, self.model, error)

    def _allowed(self, field: str, text: str) -> Path:
        """Return the real path behind `text` if it lies under the root, links followed."""
        if "://" in text:
            raise _bad_field(field, f"{text} is a URL; only paths under {self.limits.root} are served so far")
        if "\0" in text:
            raise _bad_field(field, "a path has no null character")
        root = self.limits.root.resolve()
        path = (root / text).resolve()
        if not path.is_relative_to(root):
            raise _bad_field(field, f"{text} is outside the allowed root {root}; move it there")
        return path


def _animations(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/v1/animations", tags=["animations"], responses=_refusals(401, 404))

    @router.post(
        "",
        status_code=202,
        dependencies=[Depends(_require_multipart), Depends(_require_known_fields)],
        responses=_refusals(400, 413, 415, 422, 429),
    )
    # FastAPI asks for its own class and hands in Starlette's, which checked runs would refuse.
    @no_type_check
    def create(
        source: UploadFile,
        driving: UploadFile,
        fields: Annotated[dict[str, Any], Depends(form_fields())],
        model: Annotated[str | None, Form()] = None,
    ) -> AnimationAccepted:
        """Animate the portrait `source` by the motion of `driving`, each an image or a video."""
        try:
            options = read_options(fields)
        except ValueError as error:
            raise _bad_field("options", str(error)) from None
        served = f"models:/{desk.model.name}/{desk.model.version}"
        if model is not None and model not in (served, desk.model.name):
            raise _bad_field("model", f"{model} is not served here; {served} is: leave it out or give that")
        return desk.accept(source, driving, options)

    @router.get("/{job_id}")
    def read(job_id: str) -> AnimationStatus:
        """Say how an animation stands."""
        return AnimationStatus(**_progress(desk.find(job_id)), links=_links(job_id))

    @router.get("/{job_id}/video", response_class=FileResponse, responses=_refusals(409))
    def read_video(job_id: str) -> FileResponse:
        """Return the finished mp4, or the byte range of it that was asked for."""
        return _Video(desk.video(job_id), media_type="video/mp4")

    @router.delete("/{job_id}", status_code=204, responses=_refusals(409))
    def delete(job_id: str) -> None:
        """Cancel an animation that has not ended; remove one that has. Its files are deleted either way."""
        desk.drop(job_id)

    return router


def _batches(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=_refusals(401, 404))

    @router.post("", status_code=202, responses=_refusals(422, 429))
    def create(request: BatchRequest) -> BatchAccepted:
        """Animate files on the server's own disk; each gives one mp4 in the output folder."""
        return desk.accept_batch(request)

    @router.get("/{batch_id}")
    def read(batch_id: str) -> BatchStatus:
        """Say how a batch and each of its items stand."""
        return desk.batch_status(batch_id)

    return router


def _about(jobs: JobStore, model: ModelVersion) -> APIRouter:
    router = APIRouter(tags=["about"])

    @router.get("/healthz")
    def health() -> Health:
        """Answer if the service can take jobs."""
        jobs.num_queued()
        return Health(status="ok")

    @router.get("/v1/models", responses=_refusals(401))
    def models() -> ModelList:
        """List the models that this server animates with."""
        return ModelList(models=[model])

    return router


class Gate:
    """Turns away who has no token, and what is too large, before the body is read."""

    def __init__(self, app: ASGIApp, token: str | None, max_body_bytes: int) -> None:
        """Guard `app`; a `token` of None lets everybody in."""
        self._app = app
        self._token = token
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # The path as it was sent: `Request.url` is put together with the Host header, which may be forged.
        if not self._is_known(scope["path"], headers.get("authorization", "")):
            answer = error_answer(401, "unauthorized", "give the token as `Authorization: Bearer TOKEN`")
            answer.headers["WWW-Authenticate"] = "Bearer"
            await answer(scope, receive, send)
        elif self._is_too_large(headers.get("content-length", "")):
            await error_answer(413, "too_large", self._too_large())(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _is_known(self, path: str, authorization: str) -> bool:
        if self._token is None or path in OPEN_PATHS:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(), self._token.encode()
        )

    def _is_too_large(self, content_length: str) -> bool:
        return content_length.isdecimal() and int(content_length) > self._max_body_bytes

    def _counted(self, receive: Receive) -> Receive:
        num_bytes = 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_body_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return counted

    def _too_large(self) -> str:
        return f"the request has more than {self._max_body_bytes} bytes; send smaller files"


class _Video(FileResponse):
    """A file whose refusals (a range it does not have) are JSON like all others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def send_json(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = True
                status = message["status"]
                answer = error_answer(status, _CODES[status], "the video has no such byte range")
                wanted = Headers(raw=message["headers"]).get("content-range")
                if wanted is not None:
                    answer.headers["Content-Range"] = wanted
                await answer(scope, receive, send)
            elif not refused:
                await send(message)

        await super().__call__(scope, receive, send_json)


def error_answer(status: int, code: str, message: str) -> JSONResponse:
    """Return the one shape that every refusal has."""
    body = ErrorAnswer(error=Error(code=code, message=message))
    return JSONResponse(body.model_dump(), status)


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    answer = error_answer(error.status, error.code, error.message)
    answer.headers.update(error.headers or {})
    return answer


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "bad_request")
    answer = error_answer(error.status_code, code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _on_bad_field(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
    return error_answer(422, "bad_field", "; ".join(wrong))


async def _on_accident(request: Request, _: Exception) -> Response:
    logger.error("%s %s had an accident", request.method, request.url.path)
    return error_answer(500, "internal", "something went wrong here; the server's log has the details")


def _bad_field(field: str, message: str) -> RefusalError:
    return RefusalError(422, "bad_field", f"{field}: {message}")


def _require_multipart(request: Request) -> None:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise RefusalError(415, "wrong_type", "send the files as multipart/form-data")


async def _require_known_fields(request: Request) -> None:
    """Refuse a form with a field that nothing reads, such as a misspelt one."""
    known = {"source", "driving", "model", *AnimationOptions.model_fields}
    for name in await request.form():
        if name not in known:
            raise _bad_field(name, f"there is no such field; allowed are {', '.join(sorted(known))}")


def _keep(upload: Upload, field: str, path: Path) -> None:
    """Copy an upload to `path` if it is an image or a video, by what it says and by what it holds."""
    declared = upload.content_type
    if declared in (None, "", "application/octet-stream"):
        declared = mimetypes.guess_type(upload.filename or "")[0]
    is_media = declared is not None and declared.startswith(("image/", "video/"))
    wrong_type = RefusalError(415, "wrong_type", f"{field}: {declared or 'this'} is not an image or a video")
    if declared is not None and not is_media:
        raise wrong_type
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file, _COPY_BYTES)
    if media_kind(path) is None and not is_media:
        raise wrong_type
    try:
        require_media(path)
    except UnreadableMediaError:
        raise RefusalError(
            400, "unreadable_media", f"{field}: no picture can be read from this file"
        ) from None
    make_durable(path)


def _links(job_id: str) -> AnimationLinks:
    itself = f"/v1/animations/{job_id}"
    return AnimationLinks(itself=itself, video=f"{itself}/video")


def _batch_links(batch: str) -> BatchLinks:
    return BatchLinks(itself=f"/v1/batches/{batch}")


def _progress(job: Job) -> dict[str, Any]:
    total = job.frames_total
    return {
        "id": job.id,
        "status": job.status,
        "progress": min(job.frames_done / total, 1.0) if total else 0.0,
        "frames_done": job.frames_done,
        "frames_total": total,
        "error": job.order.error,
        "model": job.order.model,
    }


def _item_status(index: int, job: Job) -> BatchItemStatus:
    return BatchItemStatus(
        **_progress(job),
        index=index,
        source=str(job.order.source),
        driving=str(job.order.driving),
        mode=job.order.options.mode,
        output=str(job.order.output),
    )


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorAnswer} for status in statuses}
