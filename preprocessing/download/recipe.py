"""Hashes of the settings that decide what a download yields, kept in its record.

If the hash in a record is not that of the current settings, the source is downloaded again: the files must be
what params.yaml says. Limits of speed, time and retries decide nothing and are left out.
"""

import hashlib
import json

from preprocessing.settings import DownloadSettings
from preprocessing.storage.remote_file import is_remote

LOCAL = "local"
"""Recipe of a copied file, which no setting changes."""
FILE_SETTINGS = {"format", "format_sort"}
"""Settings that choose among the files a host offers."""
ACCESS_SETTINGS = FILE_SETTINGS | {
    "max_bytes",
    "max_memory_bytes",
    "cookies",
    "proxy",
    "js_runtime",
    "allow_private_hosts",
}
"""Settings that can turn a source that failed for good into one that succeeds."""


def file_recipe(url: str, settings: DownloadSettings) -> str:
    """Return the hash of what chose the file of a source, in hex."""
    return LOCAL if url.startswith("file://") or is_remote(url) else _hash(settings, FILE_SETTINGS)


def access_recipe(settings: DownloadSettings) -> str:
    """Return the hash of what decides whether a source can be downloaded at all, in hex."""
    return _hash(settings, ACCESS_SETTINGS)


def _hash(settings: DownloadSettings, names: set[str]) -> str:
    values = settings.model_dump(mode="json", include=names)
    return hashlib.sha1(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
