"""Stores copies of videos, clips and shards on any file system that fsspec knows; a door of fsspec.

Files that belong together, such as the clips of one source, form a bundle: the files and a list of their
hashes, which is written last. A bundle whose files do not match its list, because it was or is being written,
counts as absent, so no renames or locks are needed.
"""

import json
import logging
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec

from preprocessing.storage.files import file_sha256, write_atomically
from preprocessing.storage.outage import StoreError

logger = logging.getLogger(__name__)
LIST_NAME = "sha256.json"
NUM_PARALLEL = 4
"""Files that `Store.fetch` downloads at a time."""

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


class _WrongHashError(ValueError):
    """A file of a bundle is not the one on its list."""


class Store:
    """One folder of a file system that fsspec knows.

    Args:
        url: such as `s3://bucket/folder`; credentials and endpoint come from the file system's own variables,
            such as AWS_ENDPOINT_URL.
        setting: what names the URL, for messages.
    """

    def __init__(self, url: str, setting: str = "LIA_STORE_URL") -> None:
        """Connect to nothing yet.

        Raises:
            StoreError: fsspec does not know the protocol, or its package is not installed.
        """
        self._url = url
        self._setting = setting
        with self._store_errors():
            # Other machines write too, so cached listings would be stale.
            self._fs, self._path = fsspec.url_to_fs(url, use_listings_cache=False)

    def check(self) -> None:
        """Read something, so that a wrong address or credential fails before any work.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._store_errors():
            self._hashes("nothing")
            self._require_bucket()

    def put(self, bundle: str, files: Mapping[str, Path]) -> None:
        """Make the bundle hold exactly these files; files it holds already are not uploaded again.

        Args:
            bundle: name, such as `clips/KEY`.
            files: local files by name in the bundle.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._store_errors():
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

    def get(self, bundle: str, place: Callable[[str], Path], only: Container[str] | None = None) -> bool:
        """Download the bundle's files, each atomically; return whether the bundle exists.

        Args:
            bundle: name.
            place: returns the local path for a name in the bundle; files there with the right hash are kept.
            only: names to download; None downloads all.

        Raises:
            StoreError: the store cannot be read, or a file cannot be written.
        """
        with self._store_errors():
            hashes = self._hashes(bundle)
            for name, sha256 in hashes.items():
                if only is not None and name not in only:
                    continue
                path = place(name)
                if path.is_file() and file_sha256(path) == sha256:
                    continue
                try:
                    self._get_file(f"{bundle}/{name}", path, sha256)
                except (FileNotFoundError, _WrongHashError):
                    logger.warning("%s/%s does not match its list; ignored", self._url, bundle)
                    # Without the list, the next writer uploads the whole bundle again.
                    self._remove_list(bundle)
                    return False
            return bool(hashes)

    def fetch(self, bundle: str, places: Mapping[str, Path]) -> None:
        """Download some files of a bundle, each atomically; files there with the right hash are kept.

        Args:
            bundle: name.
            places: local path by the file's name in the bundle.

        Raises:
            StoreError: the bundle or one of the files is not there, the store cannot be read, or a file
                cannot be written.
        """
        with self._store_errors():
            hashes = self._hashes(bundle)

            def fetch_one(name: str) -> None:
                if name not in hashes:
                    raise FileNotFoundError(f"no {bundle}/{name}")
                if not (places[name].is_file() and file_sha256(places[name]) == hashes[name]):
                    self._get_file(f"{bundle}/{name}", places[name], hashes[name])

            with ThreadPoolExecutor(NUM_PARALLEL) as pool:
                list(pool.map(fetch_one, places))

    def holds(self, bundle: str) -> bool:
        """Return whether the bundle exists, by its list alone.

        Raises:
            StoreError: the store cannot be read.
        """
        return bool(self.listed(bundle))

    def listed(self, bundle: str) -> dict[str, str]:
        """Return the names and sha256 of the bundle's files, by its list alone; none if it does not exist.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._store_errors():
            return self._hashes(bundle)

    def version(self, name: str) -> str | None:
        """Return what changes with the content of a single file; None if there is no such file.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._store_errors(), suppress(FileNotFoundError):
            return str(self._fs.ukey(self._full(name)))
        return None

    def download(self, name: str, path: Path) -> None:
        """Write a single file, of no bundle, to `path` atomically.

        Raises:
            StoreError: there is no such file, the store cannot be read, or `path` cannot be written.
        """
        with self._store_errors(), write_atomically(path) as partial:
            self._fs.get_file(self._full(name), str(partial))

    def upload(self, path: Path, name: str) -> None:
        """Make a single file, of no bundle, hold what `path` does; on S3 it is the old or the new one.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._store_errors():
            self._require_bucket()
            self._fs.makedirs(self._full(name).rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(path), self._full(name))

    def arrow_file_system(self) -> "tuple[FileSystem, str]":
        """Return the file system as pyarrow's, for libraries that take those, and the folder's path in it.

        Unlike the methods of this class it waits while the store is down, see `patient_files`.
        """
        from pyarrow.fs import PyFileSystem

        from preprocessing.storage.patient_files import PatientHandler

        return PyFileSystem(PatientHandler(self._fs)), self._path

    def names(self, folder: str) -> list[str]:
        """Return the names of the bundles in a folder.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._store_errors():
            path = self._full(folder)
            if not self._is_there(path):
                return []
            return sorted(name.rstrip("/").rpartition("/")[2] for name in self._fs.ls(path, detail=False))

    def bundles(self, folder: str) -> list[str]:
        """Return the names of the bundles below a folder, however deep, by their lists.

        Unlike `names` it looks at every file, but at no empty folder, which some servers leave behind.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._store_errors():
            places = self._fs.find(self._full(folder))
            ends = (place.removeprefix(self._full("")).lstrip("/") for place in places)
            return sorted(end.rpartition("/")[0] for end in ends if end.endswith(f"/{LIST_NAME}"))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of all files of each bundle in a folder, whole bundles or not.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._store_errors():
            found: dict[str, int] = {}
            for place, facts in self._fs.find(self._full(folder), detail=True).items():
                end = place.removeprefix(self._full(folder)).lstrip("/")
                bundle = f"{folder}/{end.partition('/')[0]}"
                found[bundle] = found.get(bundle, 0) + facts["size"]
            return found

    def changed(self, bundle: str) -> datetime:
        """Return when a file of a bundle was written last.

        Raises:
            StoreError: the store cannot be read, or has no such bundle.
        """
        with self._store_errors():
            return max(self._fs.modified(place) for place in self._fs.find(self._full(bundle)))

    def remove(self, bundle: str) -> None:
        """Remove the bundle if it exists; the list goes first, so that a partly removed one counts as absent.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._store_errors():
            self._remove_list(bundle)
            if self._is_there(self._full(bundle)):
                self._fs.rm(self._full(bundle), recursive=True)

    def keeps_old_versions(self) -> bool:
        """Return whether removed and replaced files stay behind as old versions: in a versioned S3 bucket."""
        if not hasattr(self._fs, "call_s3"):
            return False
        try:
            status = self._fs.call_s3("get_bucket_versioning", Bucket=self._bucket).get("Status")
        except OSError as error:
            logger.warning("%s does not tell whether it keeps old versions: %s", self._url, error)
            return False
        # A suspended bucket keeps the versions that it has.
        return status in ("Enabled", "Suspended")

    def remove_old_versions(self, prefix: str) -> int:
        """Remove every version but the current one of each file whose name begins so; return how many.

        Args:
            prefix: such as `raw/KEY`; the store must be one that keeps old versions.

        Raises:
            StoreError: the store cannot be read or written.
        """
        with self._store_errors():
            old = list(self._old_versions(self._full(prefix).partition("/")[2]))
            for name, version in old:
                self._fs.call_s3("delete_object", Bucket=self._bucket, Key=name, VersionId=version)
            return len(old)

    def _old_versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield key and version of old files, and of the marks that deleting left."""
        more: dict[str, str] = {}
        while True:
            page = self._fs.call_s3("list_object_versions", Bucket=self._bucket, Prefix=prefix, **more)
            old = (one for one in page.get("Versions", ()) if not one["IsLatest"])
            yield from ((one["Key"], one["VersionId"]) for one in (*old, *page.get("DeleteMarkers", ())))
            if not page.get("IsTruncated"):
                return
            more = {name: page[f"Next{name}"] for name in ("KeyMarker", "VersionIdMarker")}

    def _get_file(self, name: str, path: Path, sha256: str) -> None:
        with write_atomically(path) as partial:
            self._fs.get_file(self._full(name), str(partial))
            if file_sha256(partial) != sha256:
                raise _WrongHashError(name)

    def _hashes(self, bundle: str) -> dict[str, str]:
        try:
            return json.loads(self._fs.cat_file(self._full(f"{bundle}/{LIST_NAME}")))
        except FileNotFoundError:
            return {}

    def _remove_list(self, bundle: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._full(f"{bundle}/{LIST_NAME}"))

    def _require_bucket(self) -> None:
        """Raise for a missing bucket: creating folders would create it, under a mistyped name too."""
        bucket = self._bucket
        if bucket and not self._is_there(bucket):
            raise FileNotFoundError(f"no bucket {bucket}")

    def _is_there(self, path: str) -> bool:
        """Return whether there is a file, folder or bucket; raise if that cannot be known.

        fsspec's `exists` is False after any error for a bucket of S3: a store that is down would have none.
        """
        try:
            self._fs.info(path)
        except FileNotFoundError:
            return False
        return True

    @property
    def _bucket(self) -> str:
        return self._path.partition("/")[0]

    def _full(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Turn any exception of the file system's library into a StoreError of one line."""
        try:
            yield
        except Exception as error:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            raise StoreError(
                f"got {message} from {self._setting} {self._url}; a store that can be read and written is "
                "needed; correct it and its credentials, or unset it"
            ) from error
