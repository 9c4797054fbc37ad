"""Tars of the shards that are about to be replaced: those that stay the same are linked, not written."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from preprocessing.shards.frame_index import INDEX_NAME, read_index
from preprocessing.storage.files import file_sha256

_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)


class FormerTars:
    """The tars of one split, by the clips in them; none if there was no such split.

    Args:
        folder: the split's folder.
    """

    def __init__(self, folder: Path) -> None:
        """Read the split's index."""
        self._by_clips: dict[tuple[str, ...], Path] = {}
        if not (folder / INDEX_NAME).is_file():
            return
        index = read_index(folder / INDEX_NAME)
        clips: dict[str, list[str]] = {}
        for key, tar in zip(index.clip_key, index.clip_tar.tolist(), strict=True):
            clips.setdefault(index.tars[tar], []).append(key)
        self._by_clips = {tuple(keys): folder / name for name, keys in clips.items()}

    def link(self, keys: Sequence[str], write: Callable[["HashOnly"], object], target: Path) -> bool:
        """Make `target` a tar of these clips if it is here with the bytes that it should have.

        Args:
            keys: of the clips, in order.
            write: writes the tar as it should be; it is hashed, and not stored.
            target: file to make.

        Returns:
            Whether it was made.
        """
        former = self._by_clips.get(tuple(keys))
        if former is None or not former.is_file():
            return False
        wanted = HashOnly()
        write(wanted)
        # The file is read too, so that a damaged one is not kept.
        if former.stat().st_size != wanted.num_bytes or file_sha256(former) != wanted.sha256:
            return False
        # DVC may have put a symbolic link there.
        former = former.resolve()
        try:
            os.link(former, target)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            shutil.copyfile(former, target)
        return True


class HashOnly:
    """A file for writing that keeps nothing but length and hash."""

    def __init__(self) -> None:
        """Start with no bytes."""
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    @property
    def sha256(self) -> str:
        """Return the hash of what was written, in hex."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Take bytes and return their number."""
        self._hash.update(data)
        self.num_bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing."""
