"""JSON bodies of the HTTP interface, version 1.

Every answer with a status of 400 or more is an `ErrorAnswer`. Paths on the server's disk are never exposed,
except those that a batch named itself.
"""

import hashlib
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lia_model.animation.options import AnimationOptions
from lia_model.settings import Mode

LOCAL_VERSION = "local"
"""Version of a model that is a checkpoint folder."""
PROJECT_HEADER = "LIA-Project"
"""Header of the health check's answer with the `project_mark` of the service's project."""


def project_mark(root: Path) -> str:
    """Return what tells a project from another, such as its copy, without disclosing its folder."""
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:16]


class JobStatus(StrEnum):
    """Status of a job; `succeeded`, `failed` and `cancelled` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Return whether the status cannot change any more."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


class Message(BaseModel):
    """Base of every body: frozen, strict about names; its docstrings are OpenAPI's descriptions."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )


class Error(Message):
    """An error: a fixed word for programs, a sentence for people."""

    code: str
    """One of a fixed set, such as `no_face` or `unreadable_media`."""
    message: str
    """One sentence that names the cause and, if there is one, the remedy."""


class ErrorAnswer(Message):
    """Body of every answer with a status of 400 or more."""

    error: Error
    """What went wrong."""


class ModelVersion(Message):
    """The concrete model that answers, never an alias."""

    name: str
    """Registered name, or the checkpoint folder's."""
    version: str
    """Version in the registry, or `local` for a checkpoint folder."""

    @property
    def uri(self) -> str:
        """Return its URI in the registry, whose form that of a checkpoint folder has too."""
        return f"models:/{self.name}/{self.version}"


class AnimationLinks(Message):
    """Paths of one animation on this server."""

    itself: str = Field(validation_alias="self", serialization_alias="self")
    """Its status; DELETE cancels or removes it."""
    video: str
    """Its mp4, once it has succeeded."""


class BatchLinks(Message):
    """Paths of one batch on this server."""

    itself: str = Field(validation_alias="self", serialization_alias="self")
    """Its status."""


class AnimationAccepted(Message):
    """Answer to a new animation, which is stored durably."""

    id: str
    """Names the job from now on."""
    status: JobStatus
    """`queued`, or that of the earlier job with the same idempotency key."""
    links: AnimationLinks
    """URLs of the status and, later, of the video."""


class Progress(Message):
    """Status of one animation; shared by single animations and items of a batch."""

    id: str
    """Names the job."""
    status: JobStatus
    """Where it stands."""
    progress: Annotated[float, Field(ge=0, le=1)]
    """Share of the frames done."""
    frames_done: Annotated[int, Field(ge=0)]
    """Frames animated in the current attempt."""
    frames_total: Annotated[int, Field(ge=0)]
    """Frames of the driving clip; 0 until a job runner has opened it."""
    error: Error | None
    """Why it failed; None unless it failed."""
    warnings: list[str]
    """What was wrong with its files, if it succeeded all the same: missing or damaged parts, holes."""
    model: ModelVersion
    """Model that animates it."""
    submitted_s: float
    """When it was submitted, in seconds since 1970 (UTC)."""
    started_s: float | None
    """When its latest attempt started; None before the first."""
    ended_s: float | None
    """When it ended; None before."""
    correlation_id: str | None
    """`X-Correlation-ID` of the request that submitted it; None if it had none."""


class AnimationStatus(Progress):
    """Status of one animation."""

    batch: str | None
    """Batch that it was submitted by; None for an upload."""
    links: AnimationLinks
    """URLs of the status and of the video."""


class AnimationList(Message):
    """One page of animations, the newest first."""

    animations: list[AnimationStatus]
    """Uploads and items of batches."""
    next: str | None
    """URL of the next page; None on the last one."""


Priority = Annotated[int, Field(ge=-100, le=100)]
"""Among one owner's own uploads, and among the items of batches, the highest starts first."""


class BatchItem(AnimationOptions):
    """One animation of a batch, of files in the folders that `serve.batch_inputs` names.

    Paths are absolute or relative to the project.
    """

    source: Annotated[str, Field(min_length=1)]
    """Image or video of the person to animate."""
    driving: Annotated[str, Field(min_length=1)]
    """Video or image whose motion it takes, or a motion file."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")] | None = None
    """File name of the result without `.mp4`; None is the item's place in the batch, from 00000."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")] | None = None
    """Recognises a repeated item, which is not animated again unless it failed, was cancelled or has lost its
    file; None always animates."""

    model: Annotated[str, Field(min_length=1)] | None = None
    """Which version animates it: `NAME@ALIAS`, `NAME/VERSION`, or a URI of either; None is the default."""
    priority: Priority = 0
    """Among the owner's items that wait, those of the highest priority start first."""

    @property
    def options(self) -> AnimationOptions:
        """Return the options alone."""
        return AnimationOptions(**self.model_dump(include=set(AnimationOptions.model_fields)))


class BatchRequest(Message):
    """A batch: its items and the folder that gets one mp4 each."""

    items: Annotated[list[BatchItem], Field(min_length=1)]
    """What to animate, in order."""
    output: Annotated[str, Field(min_length=1)]
    """Folder in one that `serve.batch_outputs` names, created if missing; existing files are replaced.
    Without the scope admin it is in the folder of the token's name there."""


class BatchAccepted(Message):
    """Answer to a new batch, whose items are stored durably."""

    id: str
    """Names the batch from now on."""
    status: JobStatus
    """As in `BatchStatus`."""
    links: BatchLinks
    """URL of the status."""


class BatchItemStatus(Progress):
    """Status of one item of a batch."""

    index: Annotated[int, Field(ge=0)]
    """Place in the request, from 0."""
    source: str
    """Absolute path, or the requested path if it does not exist."""
    driving: str
    """Absolute path, or the requested path if it does not exist."""
    mode: Mode
    """As requested."""
    output: str
    """Absolute path of the mp4; it exists if and only if the item succeeded."""


class BatchStatus(Message):
    """Status of a batch."""

    id: str
    """Names the batch."""
    status: JobStatus
    """`queued` before the first item starts, `running` until all have ended; then `failed` if any failed,
    else `cancelled` if any was, else `succeeded`."""
    counts: dict[JobStatus, int]
    """Number of items by status; every status is a key."""
    items: list[BatchItemStatus]
    """One for each requested item, in order."""
    links: BatchLinks
    """URL of this status."""


class AvailableModel(ModelVersion):
    """A version that a request may ask for."""

    aliases: list[str]
    """Those that point at it."""
    is_default: bool
    """Whether a request that names none gets it."""
    is_loaded: bool
    """Whether a replica has it in memory; another one takes seconds to load for its first job."""
    licences: dict[str, str] = {}
    """Licences that limit its use: of the face `detector`, of the frozen networks it was trained with
    (`features`), and of the training videos (`data`). Empty if none are recorded."""


class ModelList(Message):
    """The models that the server animates with."""

    models: list[ModelVersion]
    """The default."""
    available: list[AvailableModel] = []
    """All that a request may ask for, the newest first."""


class Health(Message):
    """Answer of the health check."""

    status: Literal["ok"]
    """The service accepts jobs, and a worker animates them."""
