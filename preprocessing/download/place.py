"""Where downloads run and where the videos are kept: this process, or a cluster (in `pipelines`)."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from preprocessing.download.attempt import AttemptResult
from preprocessing.download.limits.host_limits import Turn
from preprocessing.download.limits.local_limits import LocalLimits
from preprocessing.download.limits.rate_limits import Limits, host_of, rules_of
from preprocessing.download.limits.turns import wait_for_turn
from preprocessing.download.recipe import file_recipe
from preprocessing.download.records.raw_folder import find_verified, receiving_root, upload
from preprocessing.download.records.refusals import recall
from preprocessing.download.retries import download_source
from preprocessing.ledger import Download
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.storage.object_store import Store


@runtime_checkable
class Place(Protocol):
    """Finds and downloads sources; called from several threads."""

    @property
    def limits(self) -> Limits:
        """Of the hosts."""
        ...

    def find(self, source: Source) -> Download | None:
        """Return what is known of a source; None if it is to be requested."""
        ...

    def download(self, source: Source, turn: Turn, num_attempts: int) -> AttemptResult | None:
        """Download a source that may be requested; None if it was not requested after all.

        The turn is that of the first attempt. Each further one needs another turn, and is left over if the
        host grants none soon.
        """
        ...

    def stop(self) -> None:
        """End what is in progress, where that is possible: the run has failed."""
        ...


class LocalPlace:
    """This process and its child processes; videos are kept in a folder, and in the store if there is one.

    Args:
        settings: limits and retries.
        raw: folder of verified videos; made if it is missing.
        store: receives a copy of every video; None for none.
    """

    def __init__(self, settings: DownloadSettings, raw: Path, store: Store | None) -> None:
        self._settings, self._raw, self._store = settings, raw, store
        self._limits = LocalLimits(receiving_root(raw) / "hosts.json")

    @property
    def limits(self) -> Limits:
        """Of the hosts, for this process."""
        return self._limits

    def find(self, source: Source) -> Download | None:
        """Return what is known of a source; its video is copied to the folder or the store, if one lacks it.

        Raises:
            StoreError: the store cannot be read or written.
        """
        recipe = file_recipe(source.url, self._settings)
        verified = find_verified(self._raw, source.key, recipe, self._store)
        return verified or recall(self._raw, source, self._settings)

    def download(self, source: Source, turn: Turn, num_attempts: int) -> AttemptResult:
        """Download a source into the folder and the store.

        Raises:
            StoreError: the store cannot be written.
        """
        name = host_of(source.url, self._settings.max_per_hour)
        rules = rules_of(name, self._settings)

        def may_retry() -> bool:
            return wait_for_turn(lambda _: self._limits.ask(name, rules))

        result = download_source(source, self._settings, self._raw, may_retry, num_attempts)
        if self._store is not None and result.download.status == DownloadStatus.VERIFIED:
            upload(self._raw, source.key, result.download, self._store)
        return result

    def stop(self) -> None:
        """Do nothing: what is in progress is waited for."""
