"""Writes prepared clips as webdataset tars with an index and a manifest; the door of webdataset.

A sample is a clip: `<key>.json`, the members of preprocessing/clips/members, then `<key>.<frame>.jpg`
(or `.webp`). The
same clips give the same bytes, whenever and in whatever order they were prepared. Importing webdataset
imports torch if it is installed; nothing here uses it.
"""

import hashlib
import json
import math
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from webdataset.writer import TarWriter

from preprocessing.clips.sample import KeptClip, PreparedClip
from preprocessing.clips.splitting.disjointness import Disjointness
from preprocessing.clips.stored_result import read_prepared
from preprocessing.faces.detector import LICENCE_NOTE, models_sha256
from preprocessing.ledger import ClipRow, SourceRow, count_clips, count_sources
from preprocessing.media.frame_codec import FRAME_ENDINGS
from preprocessing.outcome import TEMPORARY_STATUSES
from preprocessing.settings import ShardsSettings
from preprocessing.shards.clip_index import INDEX_NAME, build_index, list_split, write_index
from preprocessing.shards.file_hashes import listed_files, note_hashes
from preprocessing.shards.former_splits import split_draw
from preprocessing.shards.former_tars import FormerTars
from preprocessing.shards.frame_index import frames_name, make_frames, write_frames
from preprocessing.shards.grouping import group_into_shards
from preprocessing.shards.manifest import (
    FORMAT_VERSION,
    SPLITS,
    Counts,
    CropFacts,
    DetectorFacts,
    Manifest,
    Split,
    SplitListing,
    Splits,
    TarEntry,
    write_manifest,
)
from preprocessing.storage.files import file_sha256, write_folder_atomically

TAR_VERSION = 1
"""Raise it when the code makes other bytes of the same clips, so that no former tar is kept."""


MakeTars = Callable[[Split, Sequence[Sequence[KeptClip]], Path, Path], list[TarEntry]]
"""Makes the tars of a split. Takes the split, the clips of each tar, the new folder of shards, and the folder
that it is about to replace; see `write_tars_here`."""
ReadClips = Callable[[Sequence[KeptClip]], Iterator[PreparedClip]]
"""Yields whole clips with what was assigned to them, in order."""


class NothingKeptError(RuntimeError):
    """No training clip is left, so there is nothing to train on."""


class FramePlace(NamedTuple):
    """Where one frame lies in a tar."""

    clip_key: str
    offset: int
    """In bytes."""
    size: int
    """In bytes."""


def require_training_clips(rows: Sequence[ClipRow], sources: Sequence[SourceRow]) -> None:
    """Check that at least one clip was kept for training.

    Raises:
        NothingKeptError: none was; the message counts the reasons.
    """
    if not any(row.outcome == "kept" and row.split == "train" for row in rows):
        clips = ", ".join(f"{count} {label}" for label, count in count_clips(rows).items())
        states = ", ".join(f"{count} {status}" for status, count in count_sources(sources).items() if count)
        raise NothingKeptError(
            f"got no training clip (sources: {states}; clips: {clips}); at least one is needed; add sources "
            "or relax shards.crop, shards.quality or the sources' split; data/ledger holds each outcome"
        )


def write_shards(
    clips: Sequence[KeptClip],
    shard_bytes: int,
    folder: Path,
    describe: Callable[[Splits], Manifest],
    make_tars: MakeTars | None = None,
) -> Manifest:
    """Write tars and index of each split and the manifest into `folder`, which is replaced as a whole.

    Args:
        clips: the kept clips of both splits.
        shard_bytes: mean size of a tar.
        folder: where to.
        describe: returns the manifest of what was written, such as `describe_shards`.
        make_tars: None for `write_tars_here`.

    Returns:
        The manifest.
    """
    with write_folder_atomically(folder) as temporary:
        listings = {}
        for split in SPLITS:
            chosen = sorted((clip for clip in clips if clip.split == split), key=lambda clip: clip.key)
            listings[split] = write_split(
                chosen, shard_bytes, temporary, folder, split, make_tars or write_tars_here
            )
        manifest = describe(Splits(**listings))
        write_manifest(temporary, manifest)
    listed = {k: v for split in SPLITS for k, v in listed_files(split, listings[split]).items()}
    note_hashes(folder, {name: sha256 for name, sha256 in listed.items() if (folder / name).is_file()})
    return manifest


def write_tar(clips: Sequence[KeptClip], path: Path, read: ReadClips | None = None) -> TarEntry:
    """Write one shard and the file beside it.

    Args:
        clips: what it holds.
        path: of the tar.
        read: reads the clips; None for the folders of their sources.

    Raises:
        ValueError: a clip's file is not what was cut.
    """
    yaw_deg: list[float] = []
    with path.open("xb") as file:
        hashed = _HashedFile(file)
        whole = cast("BinaryIO", hashed)
        with TarWriter(
            whole, user="", group="", mode=0o644, mtime=0, encoder=False, compress=False
        ) as writer:
            for prepared in (read or _read_clips)(clips):
                _write_sample(writer, prepared)
                yaw_deg += prepared.yaw_deg or [math.nan] * prepared.clip.num_frames
    places = find_frames(path)
    if Counter(place.clip_key for place in places) != Counter({clip.key: clip.num_frames for clip in clips}):
        raise RuntimeError(f"{path} does not hold the frames that were prepared; delete data/clips and rerun")
    frames = make_frames([place.offset for place in places], [place.size for place in places], yaw_deg)
    beside = path.with_name(frames_name(path.name))
    write_frames(beside, frames)
    return TarEntry(
        name=path.name,
        bytes=hashed.num_bytes,
        sha256=hashed.sha256,
        frames_sha256=file_sha256(beside),
        recipe_sha256=recipe_sha256(clips),
        num_clips=len(clips),
        num_frames=len(frames),
    )


def recipe_sha256(clips: Sequence[KeptClip]) -> str:
    """Return the hash of all that a shard of these clips is made from."""
    parts = [[clip.content.hex(), clip.identity, clip.split, clip.follows] for clip in clips]
    return hashlib.sha256(json.dumps([TAR_VERSION, parts]).encode()).hexdigest()


def find_frames(path: Path) -> list[FramePlace]:
    """Return where the frames of a shard lie, in order."""
    with tarfile.open(path) as tar:
        return [
            FramePlace(member.name.split(".")[0], member.offset_data, member.size)
            for member in tar
            if member.name.rpartition(".")[2] in FRAME_ENDINGS
        ]


def describe_shards(
    clips: Sequence[KeptClip],
    rows: Sequence[ClipRow],
    sources: Sequence[SourceRow],
    settings: ShardsSettings,
    models: Path,
    disjointness: Disjointness,
    splits: Splits,
) -> Manifest:
    """Return the manifest of shards whose tars are written.

    Args:
        clips: the kept clips of both splits.
        rows: every candidate clip, for the counts.
        sources: every source, for the counts.
        settings: recorded.
        models: folder of the face detector.
        disjointness: what is known of the people in both splits.
        splits: what was written.
    """
    rules = settings.model_dump(mode="json", exclude={"num_parallel", "timeout_s"})
    frames = {split: sum(clip.num_frames for clip in clips if clip.split == split) for split in SPLITS}
    return Manifest(
        format_version=FORMAT_VERSION,
        size_px=settings.crop.size_px,
        draw=split_draw(settings),
        fps=settings.fps,
        crop=CropFacts(**settings.crop.model_dump(mode="json", include=set(CropFacts.model_fields))),
        detector=DetectorFacts(
            name=", ".join(sorted(path.name for path in models.glob("*.onnx"))),
            sha256=models_sha256(models),
            licence_note=LICENCE_NOTE,
        ),
        params_sha256=hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest(),
        counts=Counts(sources=count_sources(sources), clips=count_clips(rows), frames=frames),
        complete=not any(row.download.status in TEMPORARY_STATUSES for row in sources)
        and not any(row.retryable for row in rows),
        identity_disjoint=disjointness.is_disjoint,
        identity_disjoint_reason=disjointness.reason,
        splits=splits,
    )


def write_split(
    clips: Sequence[KeptClip],
    shard_bytes: int,
    folder: Path,
    former_folder: Path,
    split: Split,
    make_tars: MakeTars,
) -> SplitListing:
    """Write tars and index of a split into `folder`; `former_folder` holds the shards that are replaced."""
    (folder / split).mkdir()
    groups = group_into_shards(clips, shard_bytes)
    tars = make_tars(split, groups, folder, former_folder)
    index = build_index(
        [tar.name for tar in tars],
        [number for number, group in enumerate(groups) for _ in group],
        clips,
        [clip.has_yaw for clip in clips],
    )
    write_index(folder / split / INDEX_NAME, index)
    return list_split(index, tars, file_sha256(folder / split / INDEX_NAME))


def write_tars_here(
    split: Split, groups: Sequence[Sequence[KeptClip]], folder: Path, former_folder: Path
) -> list[TarEntry]:
    """Write the tars of a split into `folder`.

    A tar that `former_folder` has, made from the same clips, is neither read nor written but linked.
    """
    recipes = [recipe_sha256(group) for group in groups]
    former = FormerTars(former_folder, split, recipes)
    tars: list[TarEntry] = []
    for number, (group, recipe) in enumerate(zip(groups, recipes, strict=True)):
        name = tar_name(number)
        tars.append(former.link(recipe, folder / split, name) or write_tar(group, folder / split / name))
    return tars


def tar_name(number: int) -> str:
    """Return the name of a split's tar of that number."""
    return f"{number:05d}.tar"


def _read_clips(clips: Sequence[KeptClip]) -> Iterator[PreparedClip]:
    """Yield whole clips with what was assigned to them; a source's clips follow each other."""
    for folder, members in groupby(clips, key=lambda clip: clip.folder):
        stored = read_prepared(folder)
        for clip in members:
            yield stored[clip.key].assigned(clip)


def _write_sample(writer: TarWriter, prepared: PreparedClip) -> None:
    key, frames = prepared.clip.key, prepared.frames()
    _require_hash(prepared.file, b"".join(frames), prepared.frames_sha256)
    metadata = json.dumps(prepared.clip.model_dump(mode="json"), sort_keys=True).encode()
    # Several calls, since the writer sorts a sample's members, which would put the metadata last.
    writer.write({"__key__": key, "json": metadata})
    others = {ending: path.read_bytes() for ending, path in prepared.member_files().items()}
    for ending, data in others.items():
        _require_hash(prepared.member_files()[ending], data, prepared.members[ending])
    if others:
        writer.write({"__key__": key, **others})
    ending = prepared.frame_ending
    writer.write({"__key__": key, **{f"{number:05d}.{ending}": data for number, data in enumerate(frames)}})


def _require_hash(path: Path, content: bytes, sha256: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(
            f"got {path}, which is not what was cut; delete its folder and run `lia shards` again"
        )


class _HashedFile:
    """A file for writing that hashes what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    @property
    def sha256(self) -> str:
        """Return the hash of what was written, in hex."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Write bytes and return their number."""
        self._hash.update(data)
        self.num_bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()
