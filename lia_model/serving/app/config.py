"""The configuration of the application's replicas, and what they share by it."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lia_model.registry.tracking_variables import URI
from lia_model.serving.access.batch_folders import BatchFolders
from lia_model.serving.database import open_database
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models.loaded import LoadedMarks
from lia_model.settings import (
    Compilation,
    MediaLimits,
    ReplicaRange,
    RequestLimits,
    VideoDecoder,
    VideoEncoder,
)
from preprocessing.storage.object_store import Store


class ServingConfig(BaseModel):
    """Configuration of all replicas, with absolute paths, since their processes run in other folders."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    checkpoint: Path
    """Checkpoint directory of the model."""
    model: ModelVersion
    """Its name and concrete version."""
    registry: dict[str, str] | None = Field(default=None, repr=False)
    """MLflow's variables: the store that the model was registered in, and the account there; None for a
    checkpoint folder."""
    alias: str | None = None
    """Alias that the default follows; None always serves `model`."""
    max_num_models: int = 1
    """Versions in a replica's memory beside `model`."""
    samples: Path | None = None
    """Folder of the sample clips that the page offers; None or a missing one offers none."""
    home: Path
    """Folder of the uploads and their results."""
    media_store: str | None = None
    """URL of the object store that keeps them for all machines; None keeps them in the folder alone."""
    database: str = Field(repr=False)
    """URL of the database with the jobs."""
    folders: BatchFolders
    """Folders that batches may use."""
    token: str | None = Field(repr=False)
    """A bearer token that is not in the file, with the scope admin; None has none."""
    token_file: Path
    """Where the other tokens are kept; it may be missing."""
    max_upload_bytes: int
    """Largest request body."""
    max_num_queued: int
    """Most queued uploads."""
    max_num_batch_items: int
    """Most queued items of batches."""
    media: MediaLimits
    """Limits of the files that are animated."""
    keep_s: float
    """How long ended jobs and the results of uploads are kept."""
    max_stored_bytes: int
    """Most bytes of uploads that wait and of their results."""
    requests: RequestLimits
    """Limits of requests."""
    batch_size: int
    """Driving frames per forward pass."""
    replicas: ReplicaRange
    """How many replicas animate."""
    num_jobs_at_once: int | Literal["auto"] = 1
    """Jobs that a replica animates at a time; auto is more than one on a GPU."""
    drain_s: float
    """How long a replica that is stopped goes on with its jobs."""
    shared_storage: bool
    """Whether replicas may run on other machines than the head's."""
    retry: RetryRules = RetryRules()
    """Leases of jobs, and how they are tried again."""
    num_threads: int
    """CPU threads of each replica that animates."""
    compilation: Compilation
    """How the networks are compiled at start."""
    video_decoder: VideoDecoder
    """Where videos are decoded."""
    video_encoder: VideoEncoder
    """Where results are encoded."""
    detector: Path
    """Folder of the face detector; missing if the model needs none."""
    telemetry: dict[str, str] = Field(default_factory=dict, repr=False)
    """OpenTelemetry's variables, which may hold a collector's password."""
    min_score: float
    """Minimum confidence of a detected face."""
    pad_px: int
    """Border added around a frame for detection."""
    every_num_frames: int
    """Detect faces in every k-th driving frame."""

    @property
    def registry_uri(self) -> str | None:
        """URI of the MLflow store; None for a checkpoint folder."""
        return None if self.registry is None else self.registry[URI]

    @property
    def golden_folder(self) -> Path:
        """Folder of the golden pairs of the versions that are served."""
        return self.home / "golden"

    @property
    def media_folder(self) -> Path:
        """Folder of the uploads and their results."""
        return self.home / "media"


def use_registry(config: ServingConfig) -> None:
    """Make this process use MLflow's store, and give up soon when it is away."""
    if config.registry is not None:
        patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
        os.environ.update(config.registry | patience)


def open_jobs(config: ServingConfig) -> JobStore:
    """Open the store that all replicas share."""
    media = open_media(config)
    return JobStore(
        open_database(config.database),
        config.retry,
        root=config.folders.root,
        has_result=media.has_result,
    )


def open_media(config: ServingConfig) -> JobMedia:
    """Return the uploads and results that all replicas share.

    Raises:
        StoreError: there is no such kind of object store.
    """
    store = None if config.media_store is None else Store(config.media_store, "serve.media_store")
    return JobMedia(config.media_folder, store)


def heartbeat(config: ServingConfig) -> Heartbeat:
    """Return the heartbeat that all replicas share."""
    return Heartbeat(config.home / "worker")


def loaded_marks(config: ServingConfig) -> LoadedMarks:
    """Return the marks of loaded versions that all replicas share."""
    return LoadedMarks(config.home / "loaded")
