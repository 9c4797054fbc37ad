"""The project's held-out clips on this machine: in data/shards, or copies from the object store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lia_model.data.shard_cache import shards_here
from lia_model.settings import ShardCacheSettings
from preprocessing.shards.manifest import data_digest, read_manifest
from preprocessing.storage.object_store import Store


@contextmanager
def held_out_shards(shards: Path, settings: ShardCacheSettings, store: Store | None) -> Iterator[Path]:
    """Yield a folder of the shards with the tars that reading the held-out clips needs.

    Args:
        shards: the project's folder, which may lack tars that a cluster made.
        settings: of this machine's cache.
        store: where those are fetched from; None for nowhere.

    Raises:
        ValueError: there are no shards, or tars are missing and nothing has them.
        StoreError: the store cannot be read.
    """
    digest = data_digest(read_manifest(shards))
    with shards_here(shards, digest, "test", store, settings) as folder:
        yield folder
