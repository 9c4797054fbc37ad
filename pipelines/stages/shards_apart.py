"""The stage shards on a cluster whose machines share nothing but the object store.

Clips and tars are there alone: this machine sees rows, and data/shards gets manifest, indices and report.
"""

from collections.abc import Sequence
from functools import partial

from prefect import get_run_logger

from pipelines.local.cluster import compose_on_cluster, joined
from preprocessing.clips.cutting import frames_file, record_file
from preprocessing.clips.sample import KeptClip
from preprocessing.clips.stored_result import THUMBNAILS_NAME, read_preview
from preprocessing.ledger import ClipRow
from preprocessing.media.frame_codec import ENDINGS
from preprocessing.shards.composing import TarsInStore
from preprocessing.shards.manifest import TarEntry
from preprocessing.shards.writer import MakeTars
from preprocessing.storage.exchange import fetch_clips
from preprocessing.storage.held_folder import held_folder
from preprocessing.storage.object_store import Store
from preprocessing.storage.outage import patiently

_FOLDER_PREFIX = "lia-pictures-"


def tars_by_cluster(address: str, correlation_id: str, num_parallel: int, store_url: str) -> MakeTars:
    """Return what makes tars by tasks of the Ray cluster at `address`, in the object store."""

    def compose(tars: Sequence[Sequence[KeptClip]]) -> Sequence[TarEntry]:
        if not tars:
            return []
        done = 0

        def log_tar(entry: TarEntry) -> None:
            nonlocal done
            done += 1
            log("%d/%d tars: %d clips, %d bytes", done, len(tars), entry.num_clips, entry.bytes)

        log = get_run_logger().info
        with joined(address, correlation_id):
            return compose_on_cluster(tars, num_parallel, store_url, log_tar)

    return TarsInStore(Store(store_url), compose)


def fetch_previews(store: Store, rows: Sequence[ClipRow]) -> dict[str, list[bytes]]:
    """Return JPEG files that show candidates, by key, whose clips are in the store.

    Raises:
        StoreError: the store cannot be read.
    """
    return {row.key: _fetch_preview(store, row) for row in rows}


def _fetch_preview(store: Store, row: ClipRow) -> list[bytes]:
    with held_folder(_FOLDER_PREFIX) as folder:
        frames = (frames_file(folder, row.key, codec) for codec in ENDINGS)
        wanted = {THUMBNAILS_NAME, *(path.name for path in (record_file(folder, row.key), *frames))}
        place = (folder / "unused", folder / row.row_key)
        patiently(partial(fetch_clips, store, row.row_key, *place, wanted), "pictures")
        return read_preview(folder, row.row_key, row.key)
