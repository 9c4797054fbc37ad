"""index.npz of a split: its clips, one column a field, and the tar of each; its only reader and writer.

Columns, since a training opens splits of a million clips. Axes: N clips.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocessing.clips.sample import ClipEntry, KeptClip
from preprocessing.shards.manifest import SplitListing, TarEntry

INDEX_NAME = "index.npz"


@dataclass(frozen=True)
class Texts:
    """A column of texts, of which many are equal."""

    values: list[str]
    """Each text once, in order of its first row."""
    codes: NDArray[np.int32]
    """Which of `values` each row has, [N]; -1 for None."""

    def __getitem__(self, row: int) -> str | None:
        """Return the text of a row."""
        code = self.codes[row]
        return None if code < 0 else self.values[code]


@dataclass(frozen=True)
class ClipIndex:
    """Clips in the order of the tars, and in each tar in that of its frames; the fields of `ClipEntry`."""

    tars: list[str]
    """Names of the tar files."""
    clip_key: list[str]
    clip_tar: NDArray[np.int32]
    """Which tar holds each clip, [N]."""
    clip_first: NDArray[np.int64]
    """Number of each clip's first frame among all of the split, and the number of all at the end, [N + 1]."""
    source_key: Texts
    url: Texts
    identity: Texts
    follows: Texts
    by_time: NDArray[np.bool_]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    has_yaw: NDArray[np.bool_]
    """Whether the yaw of the head is known in all frames."""

    def __len__(self) -> int:
        return len(self.clip_key)

    def entry(self, row: int) -> ClipEntry:
        """Return one clip."""
        return ClipEntry.model_construct(
            key=self.clip_key[row],
            source_key=self.source_key[row],
            url=self.url[row],
            identity=self.identity[row],
            by_time=bool(self.by_time[row]),
            follows=self.follows[row],
            start_s=float(self.start_s[row]),
            end_s=float(self.end_s[row]),
            num_frames=int(self.clip_first[row + 1] - self.clip_first[row]),
        )

    def people(self) -> list[str]:
        """Return who is shown in each clip: the identity or, without one, the key of the source."""
        return [self.identity[row] or str(self.source_key[row]) for row in range(len(self))]


def build_index(
    tars: Sequence[str],
    clip_tar: Sequence[int],
    clips: Sequence[ClipEntry] | Sequence[KeptClip],
    has_yaw: Sequence[bool],
) -> ClipIndex:
    """Return the index of a split.

    Args:
        tars: names of the files.
        clip_tar: which of them holds each clip.
        clips: in the order of the tars.
        has_yaw: of each clip.
    """
    return ClipIndex(
        tars=list(tars),
        clip_key=[clip.key for clip in clips],
        clip_tar=np.array(clip_tar, np.int32),
        clip_first=np.cumsum([0, *(clip.num_frames for clip in clips)], dtype=np.int64),
        source_key=_column([clip.source_key for clip in clips]),
        url=_column([clip.url for clip in clips]),
        identity=_column([clip.identity for clip in clips]),
        follows=_column([clip.follows for clip in clips]),
        by_time=np.array([clip.by_time for clip in clips], np.bool_),
        start_s=np.array([clip.start_s for clip in clips], np.float64),
        end_s=np.array([clip.end_s for clip in clips], np.float64),
        has_yaw=np.array(has_yaw, np.bool_),
    )


def write_index(path: Path, index: ClipIndex) -> None:
    """Write the index of a split; equal indices give equal bytes."""
    arrays: dict[str, NDArray] = {}
    for name, column in vars(index).items():
        if isinstance(column, Texts):
            text = json.dumps(column.values, ensure_ascii=False).encode()
            arrays |= {f"{name}_values": np.frombuffer(text, np.uint8), f"{name}_codes": column.codes}
        else:
            arrays[name] = np.array(column, np.str_) if isinstance(column, list) else column
    with path.open("wb") as file:
        # numpy stamps every member with the zip format's first day, so the file is deterministic.
        np.savez(file, allow_pickle=False, **arrays)


def read_index(path: Path) -> ClipIndex:
    """Read the index of a split."""
    with np.load(path) as arrays:

        def texts(name: str) -> Texts:
            return Texts(json.loads(arrays[f"{name}_values"].tobytes()), arrays[f"{name}_codes"])

        return ClipIndex(
            tars=arrays["tars"].tolist(),
            clip_key=arrays["clip_key"].tolist(),
            clip_tar=arrays["clip_tar"],
            clip_first=arrays["clip_first"],
            source_key=texts("source_key"),
            url=texts("url"),
            identity=texts("identity"),
            follows=texts("follows"),
            by_time=arrays["by_time"],
            start_s=arrays["start_s"],
            end_s=arrays["end_s"],
            has_yaw=arrays["has_yaw"],
        )


def read_source_keys(shards: Path, split: str) -> list[str]:
    """Return the keys of the videos whose clips a split holds, sorted."""
    return sorted(read_index(shards / split / INDEX_NAME).source_key.values)


def list_split(index: ClipIndex, tars: Sequence[TarEntry], index_sha256: str) -> SplitListing:
    """Return what the manifest says of a split."""
    return SplitListing(
        index_sha256=index_sha256,
        num_by_time=int(index.by_time.sum()),
        num_people=len(set(index.people())),
        num_videos=len(index.source_key.values),
        tars=list(tars),
    )


def tars_of_sources(file: Path | BytesIO, source_keys: Collection[str]) -> list[str]:
    """Return the names of the tars that hold clips of some videos, by the videos' keys.

    Args:
        file: an index, also one that an earlier version wrote.
        source_keys: of the videos.
    """
    with np.load(file) as arrays:
        names, keys, tars = (arrays[name].tolist() for name in ("tars", "clip_key", "clip_tar"))
    found = {tar for key, tar in zip(keys, tars, strict=True) if key.split("-")[0] in source_keys}
    return [names[number] for number in sorted(found)]


def _column(texts: Sequence[str | None]) -> Texts:
    codes: dict[str, int] = {}
    rows = [-1 if text is None else codes.setdefault(text, len(codes)) for text in texts]
    return Texts(list(codes), np.array(rows, np.int32))
