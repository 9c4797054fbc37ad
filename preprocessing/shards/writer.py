"""Writes prepared clips as webdataset tars with an index and a manifest; the door of webdataset.

A sample is a clip: `<key>.json`, the members of preprocessing/clips/members, then `<key>.<frame>.jpg`. The
same clips give the same bytes, whenever and in whatever order they were prepared. Importing webdataset
imports torch if it is installed; nothing here uses it.
"""

import hashlib
import json
import math
import tarfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from webdataset.writer import TarWriter

from preprocessing.clips.sample import ClipEntry, PreparedClip
from preprocessing.clips.splitting.disjointness import Disjointness
from preprocessing.faces.detector import LICENCE_NOTE, models_sha256
from preprocessing.ledger import ClipRow, SourceRow, count_clips, count_sources
from preprocessing.outcome import TEMPORARY_STATUSES
from preprocessing.settings import ShardsSettings
from preprocessing.shards.former_splits import split_draw
from preprocessing.shards.former_tars import FormerTars, HashOnly
from preprocessing.shards.frame_index import INDEX_NAME, FrameIndex, write_index
from preprocessing.shards.grouping import group_into_shards
from preprocessing.shards.manifest import (
    FORMAT_VERSION,
    SPLITS,
    Counts,
    CropFacts,
    DetectorFacts,
    Manifest,
    SplitListing,
    Splits,
    TarEntry,
    write_manifest,
)
from preprocessing.storage.files import file_sha256, write_folder_atomically


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
    prepared: Sequence[PreparedClip],
    rows: Sequence[ClipRow],
    sources: Sequence[SourceRow],
    settings: ShardsSettings,
    models: Path,
    folder: Path,
    disjointness: Disjointness,
) -> Manifest:
    """Write tars and index of each split and the manifest into `folder`, which is replaced as a whole.

    A tar that the folder has already, with the same clips and bytes, is not written again but linked.

    Args:
        prepared: the kept clips of both splits.
        rows: every candidate clip, for the counts.
        sources: every source, for the counts.
        settings: shard size, and what the manifest records.
        models: folder of the face detector.
        folder: where to.
        disjointness: what is known of the people in both splits.

    Returns:
        The manifest.
    """
    with write_folder_atomically(folder) as temporary:
        listings = {}
        for split in SPLITS:
            chosen = [clip for clip in prepared if clip.clip.split == split]
            chosen.sort(key=lambda clip: clip.clip.key)
            listings[split] = _write_split(chosen, settings.shard_bytes, temporary / split, folder / split)
        manifest = describe_shards(
            prepared, rows, sources, settings, models, Splits(**listings), disjointness
        )
        write_manifest(temporary, manifest)
    return manifest


def write_tar(clips: Sequence[PreparedClip], file: BinaryIO | HashOnly) -> None:
    """Write one shard."""
    whole = cast("BinaryIO", file)
    with TarWriter(whole, user="", group="", mode=0o644, mtime=0, encoder=False, compress=False) as writer:
        for prepared in clips:
            key = prepared.clip.key
            metadata = json.dumps(prepared.clip.model_dump(mode="json"), sort_keys=True).encode()
            # Several calls, since the writer sorts a sample's members, which would put the metadata last.
            writer.write({"__key__": key, "json": metadata})
            others = {ending: path.read_bytes() for ending, path in prepared.member_files().items()}
            if others:
                writer.write({"__key__": key, **others})
            frames = {f"{number:05d}.jpg": data for number, data in enumerate(prepared.frames())}
            writer.write({"__key__": key, **frames})


def find_frames(path: Path) -> list[FramePlace]:
    """Return where the frames of a shard lie, in order."""
    with tarfile.open(path) as tar:
        return [
            FramePlace(member.name.split(".")[0], member.offset_data, member.size)
            for member in tar
            if member.name.endswith(".jpg")
        ]


def describe_shards(
    prepared: Sequence[PreparedClip],
    rows: Sequence[ClipRow],
    sources: Sequence[SourceRow],
    settings: ShardsSettings,
    models: Path,
    splits: Splits,
    disjointness: Disjointness,
) -> Manifest:
    """Return the manifest of shards whose tars are written."""
    rules = settings.model_dump(mode="json", exclude={"num_parallel", "timeout_s"})
    frames = {
        split: sum(clip.clip.num_frames for clip in prepared if clip.clip.split == split) for split in SPLITS
    }
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


def _write_split(
    clips: Sequence[PreparedClip], shard_bytes: int, folder: Path, former_folder: Path
) -> SplitListing:
    folder.mkdir()
    former = FormerTars(former_folder)
    tars: list[TarEntry] = []
    places: list[FramePlace] = []
    clip_tar: list[int] = []
    for number, group in enumerate(group_into_shards(clips, shard_bytes)):
        path = folder / f"{number:05d}.tar"
        if not former.link([clip.clip.key for clip in group], partial(write_tar, group), path):
            with path.open("xb") as file:
                write_tar(group, file)
        places += find_frames(path)
        tars.append(TarEntry(name=path.name, sha256=file_sha256(path), bytes=path.stat().st_size))
        clip_tar += [number] * len(group)
    entries = [ClipEntry(**clip.clip.model_dump(include=set(ClipEntry.model_fields))) for clip in clips]
    if Counter(place.clip_key for place in places) != Counter({e.key: e.num_frames for e in entries}):
        raise RuntimeError(
            f"the tars in {folder} do not hold the frames that were prepared; delete data/clips and rerun"
        )
    index = FrameIndex(
        tars=[tar.name for tar in tars],
        clip_key=[entry.key for entry in entries],
        clip_tar=np.array(clip_tar, dtype=np.int32),
        clip_first=np.cumsum([0, *(entry.num_frames for entry in entries)], dtype=np.int64),
        frame_offset=np.array([place.offset for place in places], dtype=np.int64),
        frame_size=np.array([place.size for place in places], dtype=np.int32),
        frame_yaw_deg=np.concatenate([[], *map(_yaws, clips)]).astype(np.float16),
    )
    write_index(folder / INDEX_NAME, index)
    return SplitListing(tars=tars, clips=entries)


def _yaws(clip: PreparedClip) -> Sequence[float]:
    return clip.yaw_deg or [math.nan] * clip.clip.num_frames
