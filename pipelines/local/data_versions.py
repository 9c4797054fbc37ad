"""The door to DVC: which stored objects hold a video or a picture of it, in every version, and their removal.

DVC names an object by the hash of its bytes and keeps it in the cache and in remotes. Whom it shows is read
off the names in directory objects: files of ours begin with the video's key, a tar's clips are in the index
beside it, and a page carries the keys of those in its pictures as ids.
"""

import io
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import yaml
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import rwlock

from preprocessing.shards.clip_index import INDEX_NAME, tars_of_sources
from preprocessing.shards.frame_index import frames_name

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

CACHE = "cache"
_DIRECTORY = ".dir"
_KEY = re.compile(r"[0-9a-f]{40}")
_FORMAT = "%h%x09%cs%x09%s"

Names = Mapping[str, str]
"""A directory as stored: the hash of each file by its path in it, or of each output by its path."""


@dataclass(frozen=True)
class Copies:
    """What DVC stores of some videos."""

    objects: dict[str, list[str]]
    """Hashes by where they are: `cache`, or a remote's name."""
    versions: list[str]
    """Commits that need such an object, newest first: short hash, date and subject."""
    shared: list[str]
    """Other videos' files with the same bytes, for whose sake an object stays."""


class DataVersions:
    """Everything that DVC keeps for one project."""

    def __init__(self, root: Path) -> None:
        """Open the project's DVC repository.

        Raises:
            ValueError: it has none, or a remote is of a kind whose objects DVC does not name by hash.
        """
        self._root = root
        try:
            self._repo = Repo(str(root))
            self._stores: dict[str, HashFileDB] = {CACHE: self._repo.cache.local}
            for name in self._repo.config["remote"]:
                self._stores[name] = self._repo.cloud.get_remote_odb(name)
        except NotDvcRepoError:
            raise ValueError(
                f"got no DVC repository in {root}; the project's own is needed; bring .dvc back with git"
            ) from None
        except (DvcException, ImportError) as error:
            told = " ".join(str(error).split())
            raise ValueError(f"DVC's remotes cannot be read ({told}); correct .dvc/config") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other use of DVC in this project out, stages that run included.

        Raises:
            ValueError: one is at work.
        """
        stages = self._repo.index.stages
        outputs = [output.fs_path for stage in stages for output in stage.outs]
        hardlink = self._repo.config["core"].get("hardlink_lock", False)
        try:
            with (
                self._repo.lock,
                rwlock(self._repo.tmp_dir, self._repo.fs, "lia forget", [], outputs, hardlink),
            ):
                yield
        except LockError as error:
            told = " ".join(str(error).split())
            raise ValueError(f"DVC is at work in this project ({told}); wait for its end and rerun") from None

    def find(self, keys: AbstractSet[str]) -> Copies:
        """Return what is stored of the videos, here and in every remote.

        Raises:
            ValueError: a remote cannot be reached.
        """
        try:
            present = {name: set(_all(store)) for name, store in self._stores.items()}
        except Exception as error:
            # Each kind of remote fails in its own way.
            told = " ".join(str(error).split())
            raise ValueError(f"a remote cannot be read ({told}); reach it, or take it from .dvc") from error
        trees = self._trees(present)
        held: set[str] = set()
        others: dict[str, str] = {}
        for tree in trees.values():
            names = self._names_with(tree, keys)
            held |= {tree[name] for name in names}
            others |= {oid: name for name, oid in tree.items() if name not in names}
        commits = self._commits()
        recorded = [*commits.values(), *self._uncommitted()]
        pages = {oid for outs in recorded for path, oid in outs.items() if path.endswith(".html")}
        held |= {oid for oid in pages if self._has_key(oid, keys)}
        shared = held & others.keys()
        held -= shared
        return Copies(
            objects={name: sorted(held & oids) for name, oids in present.items()},
            versions=[
                told
                for told, outs in commits.items()
                if any(oid in held or held & set(trees.get(oid, {}).values()) for oid in outs.values())
            ],
            shared=sorted(others[oid] for oid in shared),
        )

    def remove(self, copies: Copies) -> None:
        """Remove the objects from the cache and the remotes; one that is gone already is no error."""
        for name, oids in copies.objects.items():
            store = self._stores[name]
            for oid in oids:
                if store.exists(oid):
                    store.delete(oid)

    def _trees(self, present: Mapping[str, Collection[str]]) -> dict[str, Names]:
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.tree import Tree

        trees: dict[str, Names] = {}
        for name, oids in present.items():
            for oid in oids:
                if oid.endswith(_DIRECTORY) and oid not in trees:
                    tree = Tree.load(self._stores[name], HashInfo("md5", oid))
                    trees[oid] = {"/".join(parts): str(info.value) for parts, _, info in tree if info}
        return trees

    def _names_with(self, tree: Names, keys: AbstractSet[str]) -> set[str]:
        """Return the files of a directory that show one of the videos."""
        names = {name for name in tree if not keys.isdisjoint(_KEY.findall(PurePosixPath(name).name))}
        names |= {name for name, oid in tree.items() if name.endswith(".html") and self._has_key(oid, keys)}
        for index in (name for name in tree if name.endswith(f"/{INDEX_NAME}")):
            data = self._read(tree[index])
            folder = PurePosixPath(index).parent
            if data is not None:
                found = tars_of_sources(io.BytesIO(data), keys)
                # Tars that a cluster made are in the object store alone.
                files = (name for tar in found for name in (tar, frames_name(tar)))
                names |= {f"{folder}/{name}" for name in files} & tree.keys()
            else:
                # Without the index it is unknown whom a tar shows, so all of them count.
                names |= {
                    name for name in tree if PurePosixPath(name).parent == folder and name.endswith(".tar")
                }
        return names

    def _has_key(self, oid: str, keys: AbstractSet[str]) -> bool:
        text = (self._read(oid) or b"").decode(errors="replace")
        return not keys.isdisjoint(_KEY.findall(text))

    def _read(self, oid: str) -> bytes | None:
        for store in self._stores.values():
            if store.exists(oid):
                return store.fs.cat_file(store.oid_to_path(oid))
        return None

    def _commits(self) -> dict[str, Names]:
        """Return the outputs that each commit's dvc.lock records, newest first."""
        log = self._git("log", "--all", "--full-history", f"--format={_FORMAT}", "--", "dvc.lock")
        locks = {line: self._git("show", f"{line.split(chr(9))[0]}:./dvc.lock") for line in log.splitlines()}
        return {line.replace("\t", " "): _outputs(lock) for line, lock in locks.items() if lock}

    def _uncommitted(self) -> Iterator[Names]:
        """Yield what dvc.lock and DVC's cache of runs record."""
        runs = Path(self._repo.stage_cache.cache_dir)
        for path in (self._root / "dvc.lock", *runs.glob("*/*/*")):
            if path.is_file():
                yield _outputs(path.read_text())

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self._root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _all(store: "HashFileDB") -> Iterator[str]:
    return iter(store.all()) if store.fs.exists(store.path) else iter(())


def _outputs(lock: str) -> Names:
    """Return the hash of every output in a dvc.lock, or in one entry of the cache of runs."""
    record = yaml.safe_load(lock) or {}
    stages = record["stages"].values() if "stages" in record else [record]
    return {
        output["path"]: output["md5"]
        for stage in stages
        for output in stage.get("outs", ())
        if "md5" in output
    }
