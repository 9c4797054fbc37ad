"""What the animation service says and hears: the JSON bodies of its HTTP interface, version 1.

Every answer with a status of 400 or more is an `ErrorAnswer`. Places on the server's disk never leave it,
except for those a batch named itself.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lia_model.animation.options import AnimationOptions
from lia_model.settings import Mode


class JobStatus(StrEnum):
    """Where a job stands; `succeeded`, `failed` and `cancelled` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
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
    """What went wrong: a fixed word for programs, a sentence for people."""

    code: str
    """One of a fixed set, such as `no_face` or `unreadable_media`."""
    message: str
    """One sentence that names the thing and, where there is one, the remedy."""


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


class AnimationLinks(Message):
    """Paths of one animation on this server."""

    itself: str = Field(serialization_alias="self")
    """Its status; DELETE cancels or removes it."""
    video: str
    """Its mp4, once it has succeeded."""


class BatchLinks(Message):
    """Paths of one batch on this server."""

    itself: str = Field(serialization_alias="self")
    """Its status."""


class AnimationAccepted(Message):
    """Answer to a new animation: it is on disk and will not be lost."""

    id: str
    """Names the job from now on."""
    status: JobStatus
    """`queued`."""
    links: AnimationLinks
    """Where to ask, and where the video will be."""


class Progress(Message):
    """How one animation stands; shared by single animations and the items of a batch."""

    id: str
    """Names the job."""
    status: JobStatus
    """Where it stands."""
    progress: Annotated[float, Field(ge=0, le=1)]
    """Share of the frames done."""
    frames_done: Annotated[int, Field(ge=0)]
    """Frames animated in the current attempt."""
    frames_total: Annotated[int, Field(ge=0)]
    """Frames of the driving clip; 0 until a worker has opened it."""
    error: Error | None
    """Why it failed; None unless it did."""
    model: ModelVersion
    """What animates it."""


class AnimationStatus(Progress):
    """Answer to the question how an animation stands."""

    links: AnimationLinks
    """Where to ask, and where the video is."""


class BatchItem(AnimationOptions):
    """One animation of a batch: paths on the server's disk, absolute or relative to the allowed root."""

    source: Annotated[str, Field(min_length=1)]
    """Image or video of the person to animate."""
    driving: Annotated[str, Field(min_length=1)]
    """Video or image whose motion it takes."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")] | None = None
    """File name of the result without `.mp4`; None is the item's place in the batch, from 00000."""

    @property
    def options(self) -> AnimationOptions:
        """Return the options alone."""
        return AnimationOptions(**self.model_dump(include=set(AnimationOptions.model_fields)))


class BatchRequest(Message):
    """A batch: its items and the folder that gets one mp4 each."""

    items: Annotated[list[BatchItem], Field(min_length=1)]
    """What to animate, in order."""
    output: Annotated[str, Field(min_length=1)]
    """Folder under the allowed root, made if missing; a file that is there already is replaced."""


class BatchAccepted(Message):
    """Answer to a new batch: every item is on disk and will not be lost."""

    id: str
    """Names the batch from now on."""
    status: JobStatus
    """As in `BatchStatus`."""
    links: BatchLinks
    """Where to ask."""


class BatchItemStatus(Progress):
    """How one item of a batch stands."""

    index: Annotated[int, Field(ge=0)]
    """Place in the request, from 0."""
    source: str
    """Absolute path; as asked for where that leads nowhere."""
    driving: str
    """Absolute path; as asked for where that leads nowhere."""
    mode: Mode
    """As asked for."""
    output: str
    """Absolute path of the mp4; it exists if and only if the item succeeded."""


class BatchStatus(Message):
    """Answer to the question how a batch stands."""

    id: str
    """Names the batch."""
    status: JobStatus
    """`queued` before the first item starts, `running` until all have ended; then `failed` if any failed,
    else `cancelled` if any was, else `succeeded`."""
    counts: dict[JobStatus, int]
    """Number of items in each status; all five are listed."""
    items: list[BatchItemStatus]
    """One for each item asked for, in order."""
    links: BatchLinks
    """Where to ask again."""


class ModelList(Message):
    """Answer to the question what the server animates with."""

    models: list[ModelVersion]
    """One, for now."""


class Health(Message):
    """Answer of the health check."""

    status: Literal["ok"]
    """The service takes jobs."""
