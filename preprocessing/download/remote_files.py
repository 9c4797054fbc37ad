"""Receives videos of S3, Google Cloud Storage and Hugging Face, listed by s3://, gs:// and hf:// addresses.

They are reached with this environment's credentials at the endpoint that it names. `allow_private_hosts` and
`proxy` are about addresses that a list can choose, and do not count here.
"""

import re
from pathlib import Path

from preprocessing.download.failures import TooLargeError, classify, one_line
from preprocessing.download.verification import require_file_size
from preprocessing.ledger import Download
from preprocessing.outcome import Absence, DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.storage.remote_file import (
    MissingPackageError,
    NoSuchFileError,
    RemoteFileError,
    copy_remote,
)

_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


def receive_remote(url: str, folder: Path, settings: DownloadSettings) -> Path | Download:
    """Copy one file into `folder` and return its path, or how that failed."""
    suffix = Path(url).suffix.lower()
    path = folder / f"video{suffix if _SUFFIX.fullmatch(suffix) else ''}"

    def require_size(num_bytes: int) -> None:
        require_file_size(num_bytes, settings.max_bytes)

    try:
        copy_remote(url, path, require_size, settings.max_bytes_per_s)
    except RemoteFileError as error:
        cause = error.__cause__ or error
        absence = Absence.REMOVED if isinstance(cause, NoSuchFileError) else None
        return Download(status=status_of(cause), error=_explain(url, cause), absence=absence)
    return path


def status_of(error: BaseException) -> DownloadStatus:
    """Return the status for an error of a file system's library; one of an unknown kind may pass."""
    if isinstance(error, NoSuchFileError | TooLargeError):
        return DownloadStatus.PERMANENT
    # botocore has plain exceptions for missing credentials.
    if isinstance(error, MissingPackageError | PermissionError) or _lacks_credentials(error):
        return DownloadStatus.ENVIRONMENT
    return classify(error)


def _lacks_credentials(error: BaseException) -> bool:
    return type(error).__name__.endswith("CredentialsError")


def _explain(url: str, error: BaseException) -> str:
    if isinstance(error, PermissionError) or _lacks_credentials(error):
        return (
            f"got {one_line(error)} for {url}; credentials that may read it are needed; set them in the "
            "environment of its library, such as AWS_ACCESS_KEY_ID"
        )
    return one_line(error)
