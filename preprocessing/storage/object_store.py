"""The door to fsspec: a place beside the disk, on any object store, that keeps videos, clips and shards too.

What belongs together, such as the clips of one source, is a bundle: its files and, written last, a list of
their hashes. So an object store needs no renames and no locks: a bundle that was written by half, or is being
written, is one whose hashes are not true, and counts as absent.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec

from preprocessing.storage.files import file_sha256

logger = logging.getLogger(__name__)
LIST_NAME = "sha256.json"


class StoreError(RuntimeError):
    """The store cannot be read or written."""


class Store:
    """One folder of a file system that fsspec knows.

    Args:
        url: such as `s3://bucket/folder`; access is said by variables of its own, such as AWS_ENDPOINT_URL.
    """

    def __init__(self, url: str) -> None:
        """Reach for nothing yet.

        Raises:
            StoreError: fsspec has no such protocol, or lacks its package.
        """
        self._url = url
        with self._told():
            # A listing that another machine has outdated is of no use here.
            self._fs, self._path = fsspec.url_to_fs(url, use_listings_cache=False)

    def check(self) -> None:
        """Read something, so that a wrong address or key is told before any work.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._told():
            self._hashes("nothing")
            self._require_bucket()

    def put(self, bundle: str, files: Mapping[str, Path]) -> None:
        """Make the bundle hold these files and no others; what it holds already is not sent again.

        Args:
            bundle: its name, such as `clips/KEY`.
            files: local files by their names in the bundle.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._told():
            before = self._hashes(bundle)
            hashes = {name: file_sha256(path) for name, path in sorted(files.items())}
            if hashes == before:
                return
            self._require_bucket()
            for name, path in files.items():
                if before.get(name) != hashes[name]:
                    target = self._full(f"{bundle}/{name}")
                    self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
                    self._fs.put_file(str(path), target)
            self._fs.pipe_file(self._full(f"{bundle}/{LIST_NAME}"), json.dumps(hashes).encode())
            for name in before.keys() - hashes.keys():
                with suppress(FileNotFoundError):
                    self._fs.rm_file(self._full(f"{bundle}/{name}"))

    def get(self, bundle: str, place: Callable[[str], Path]) -> bool:
        """Bring the bundle's files here, each whole or not at all; return whether there was such a bundle.

        Args:
            bundle: its name.
            place: where a file of the bundle belongs, by its name; what is there already is not brought.

        Raises:
            StoreError: the store cannot be read, or a file cannot be written.
        """
        with self._told():
            hashes = self._hashes(bundle)
            for name, sha256 in hashes.items():
                path = place(name)
                if path.is_file() and file_sha256(path) == sha256:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(f".{path.name}.partial")
                with suppress(FileNotFoundError):
                    self._fs.get_file(self._full(f"{bundle}/{name}"), str(partial))
                if not partial.is_file() or file_sha256(partial) != sha256:
                    partial.unlink(missing_ok=True)
                    logger.warning("%s/%s is not what its list says; left out", self._url, bundle)
                    # Without its list, whoever has the files puts all of them anew.
                    self._remove_list(bundle)
                    return False
                partial.replace(path)
            return bool(hashes)

    def names(self, folder: str) -> list[str]:
        """Return the names of the bundles in a folder.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._told():
            path = self._full(folder)
            if not self._fs.exists(path):
                return []
            return sorted(name.rstrip("/").rpartition("/")[2] for name in self._fs.ls(path, detail=False))

    def remove(self, bundle: str) -> None:
        """Remove the bundle, if there is one; its list goes first, so that half of it counts as absent.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._told():
            self._remove_list(bundle)
            if self._fs.exists(self._full(bundle)):
                self._fs.rm(self._full(bundle), recursive=True)

    def _hashes(self, bundle: str) -> dict[str, str]:
        try:
            return json.loads(self._fs.cat_file(self._full(f"{bundle}/{LIST_NAME}")))
        except FileNotFoundError:
            return {}

    def _remove_list(self, bundle: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._full(f"{bundle}/{LIST_NAME}"))

    def _require_bucket(self) -> None:
        """Refuse a bucket that is not there: making folders would make it, by whatever name was mistyped."""
        bucket = self._path.partition("/")[0]
        if bucket and not self._fs.exists(bucket):
            raise FileNotFoundError(f"no bucket {bucket}")

    def _full(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what an object store's own library says into one line of ours."""
        try:
            yield
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise StoreError(
                f"got {told} from LIA_STORE_URL {self._url}; a store that can be read and written is needed; "
                "correct it and its credentials, or unset it"
            ) from error
