"""Limits of the HTTP interface."""

from dataclasses import dataclass

from lia_model.serving.access.batch_folders import BatchFolders
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.jobs.media import JobMedia
from lia_model.settings import RequestLimits


@dataclass(frozen=True)
class ApiLimits:
    """Limits of the HTTP interface."""

    folders: BatchFolders
    """Folders that batches may use."""
    media: JobMedia
    """Uploads and their results."""
    tokens: Tokens
    """Bearer tokens of every path but the health check."""
    max_upload_bytes: int
    """Largest request body."""
    max_num_queued: int
    """Most queued uploads."""
    max_num_batch_items: int
    """Most queued items of batches."""
    requests: RequestLimits
    """Number and speed of requests."""
    max_stored_bytes: int
    """Most bytes of the uploads that wait and of the results that are kept."""
