"""Downloads one source on any machine of a cluster: received and verified there, kept in the object store.

Nothing of it stays on the machine, also if the process is killed: see `held_folder`. Parts that were received
are lost with it.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from preprocessing.download.attempt import AttemptResult
from preprocessing.download.recipe import file_recipe
from preprocessing.download.records.raw_folder import upload
from preprocessing.download.records.stored_videos import find_stored
from preprocessing.download.retries import request_source
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.storage.held_folder import held_folder
from preprocessing.storage.object_store import Store
from preprocessing.storage.outage import patiently

FOLDER_PREFIX = "lia-download-"
"""With which the names of the work folders in the system's temporary folder begin."""


@dataclass(frozen=True)
class Order:
    """What a worker is to download, with the secrets that it needs."""

    source: Source = field(repr=False)
    settings: DownloadSettings
    store_url: str
    """Of the store that gets the video."""
    num_attempts: int
    """How often to request it at most."""
    cookies: bytes | None = field(default=None, repr=False)
    """Content of the cookie file, which the worker's machine does not have; None without one."""


def make_order(source: Source, settings: DownloadSettings, store_url: str, num_attempts: int) -> Order:
    """Return the order to download a source, with the cookies that this machine has."""
    path = settings.cookies
    cookies = path.read_bytes() if path is not None and path.is_file() else None
    return Order(source, settings, store_url, num_attempts, cookies)


def carry_out(order: Order, may_begin: Callable[[], bool]) -> AttemptResult | None:
    """Download a source into the store; None if it may not be requested now.

    Args:
        order: what to download.
        may_begin: asked right before each attempt, unless the store has the video: a worker that was lost may
            have stored it.

    Raises:
        StoreError: the store is down for long, or cannot be read or written.
    """
    source, settings, store = order.source, order.settings, Store(order.store_url)
    recipe = file_recipe(source.url, settings)
    with held_folder(FOLDER_PREFIX) as folder:
        raw = folder / "raw"
        raw.mkdir()
        known = patiently(lambda: find_stored(raw, source.key, recipe, store), "a video's record")
        if known is not None:
            return AttemptResult(download=known)
        if not may_begin():
            return None
        result = request_source(source, _with_cookies(order, folder), raw, may_begin, order.num_attempts)
        if result.download.status == DownloadStatus.VERIFIED:
            patiently(lambda: upload(raw, source.key, result.download, store), "a video")
        return _with_machine(result)


def _with_cookies(order: Order, folder: Path) -> DownloadSettings:
    """Return the settings with a file of the order's cookies, which only this user can read."""
    if order.cookies is None:
        return order.settings
    path = folder / "cookies.txt"
    path.touch(mode=0o600)
    path.write_bytes(order.cookies)
    return order.settings.model_copy(update={"cookies": path})


def _with_machine(result: AttemptResult) -> AttemptResult:
    """Return the result with the machine's name where something is wrong with the machine."""
    if result.download.status != DownloadStatus.ENVIRONMENT:
        return result
    error = f"{result.download.error} (on {platform.node()})"
    return result.model_copy(update={"download": replace(result.download, error=error)})
