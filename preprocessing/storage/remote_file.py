"""Copies single files of S3 (s3://), Google Cloud Storage (gs://) or Hugging Face (hf://); a door of fsspec.

Endpoint and credentials come from the environment of the file systems' own libraries, so an address cannot
choose them. It names one file: fsspec's chains of file systems (`::`), which would reach other schemes and
this machine's files, mean nothing here.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fsspec

from preprocessing.storage.files import write_atomically

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
"""The package that reads each scheme."""
CHUNK_BYTES = 8_000_000


class RemoteFileError(RuntimeError):
    """A file was not copied; its cause says why."""


class MissingPackageError(RuntimeError):
    """The package that reads a scheme is not installed."""


class NoSuchFileError(FileNotFoundError):
    """The address names nothing, or a folder."""


class OtherContentError(OSError):
    """What arrived is not what the store announced."""


def is_remote(url: str) -> bool:
    """Return whether a URL has one of these schemes."""
    return url.partition("://")[0] in PACKAGES


def reader_of(url: str) -> str:
    """Return name and version of the package that reads a URL; it must be installed."""
    name = PACKAGES[url.partition("://")[0]]
    return f"{name} {version(name)}"


def copy_remote(
    url: str, path: Path, require_size: Callable[[int], None], max_bytes_per_s: float | None = None
) -> None:
    """Copy one file to `path`, atomically, and compare it with the length and hash that the store states.

    Args:
        url: with one of `PACKAGES`' schemes.
        path: where to.
        require_size: called with the announced size before anything is copied, and with the number of bytes
            that have arrived; raises for one that is too large.
        max_bytes_per_s: greatest mean speed; None sets no limit.

    Raises:
        RemoteFileError: it was not copied. The cause is a MissingPackageError, a NoSuchFileError, an
            OtherContentError, what `require_size` raised, or an error of the file system's library, such as a
            PermissionError.
    """
    try:
        _copy(url, path, require_size, max_bytes_per_s)
    # The libraries' connection errors have no type in common.
    except Exception as error:
        raise RemoteFileError(url) from error


def stated_hash(facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return name and hex digest of the hash of the content that a store states; None if it states none.

    S3's ETag is none: with encryption, or an upload in parts, it is no hash of the content.
    """
    if text := facts.get("md5Hash"):
        return "md5", base64.b64decode(text).hex()
    large = facts.get("lfs")
    text = None if large is None else large.get("sha256")
    return text and ("sha256", text)


def _copy(url: str, path: Path, require_size: Callable[[int], None], max_bytes_per_s: float | None) -> None:
    scheme, _, place = url.partition("://")
    files = _file_system(scheme)
    try:
        facts = files.info(place)
    except FileNotFoundError as error:
        raise NoSuchFileError(f"got {url}, but there is no such file; correct the row") from error
    if facts.get("type") != "file":
        raise NoSuchFileError(f"got {url}, which is a folder; the address of one file is needed")
    require_size(facts["size"])
    stated = stated_hash(facts)
    found = hashlib.new(stated[0]) if stated else None
    started_s, num_bytes = time.monotonic(), 0
    with write_atomically(path) as temporary, temporary.open("wb") as target:
        with files.open(place, "rb", block_size=CHUNK_BYTES, cache_type="none") as source:
            while chunk := source.read(CHUNK_BYTES):
                target.write(chunk)
                num_bytes += len(chunk)
                require_size(num_bytes)
                if found is not None:
                    found.update(chunk)
                if max_bytes_per_s is not None:
                    time.sleep(max(0.0, started_s + num_bytes / max_bytes_per_s - time.monotonic()))
        if num_bytes != facts["size"]:
            raise OtherContentError(f"got {num_bytes} bytes of {facts['size']} from {url}")
        if stated and found is not None and found.hexdigest() != stated[1]:
            raise OtherContentError(f"got a file with another {stated[0]} than {url} states")


def _file_system(scheme: str) -> Any:  # noqa: ANN401 - fsspec's file systems have no common interface
    try:
        # Files change, and another process may have cached what is no longer true.
        return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        name = PACKAGES[scheme]
        raise MissingPackageError(
            f"got a {scheme}:// address, which {name} reads; it is not installed; run `pip install {name}`"
        ) from error
