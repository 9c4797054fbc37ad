"""Prepared clips into webdataset tars, an index and a manifest; the only file that imports webdataset.

One clip a sample: `<key>.json`, then `<key>.<frame>.jpg`. The same clips give the same bytes, whenever and in
whatever order they were prepared. Importing webdataset loads torch where it is installed; nothing here uses
it.
"""

import hashlib
import json
import logging
import shutil
import tarfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from webdataset.writer import TarWriter

from preprocessing.clips.sample import PreparedClip
from preprocessing.faces.detector import LICENCE_NOTE, models_sha256
from preprocessing.ledger import ClipRow, SourceRow, count_clips, count_sources
from preprocessing.outcome import TEMPORARY_STATUSES
from preprocessing.settings import ShardsSettings
from preprocessing.storage.files import file_sha256

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
BUNDLE = "shards"
"""Name under which a store keeps the folder of shards."""
SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")


class NothingKeptError(RuntimeError):
    """No training clip is left, so there is nothing to train on."""


@dataclass(frozen=True)
class Member:
    """Where one frame lies."""

    key: str
    offset: int
    size: int


def require_training_clips(rows: Sequence[ClipRow], sources: Sequence[SourceRow]) -> None:
    """Check that something was kept for training.

    Raises:
        NothingKeptError: nothing was; the message counts the reasons.
    """
    if not any(row.outcome == "kept" and row.split == "train" for row in rows):
        clips = ", ".join(f"{count} {word}" for word, count in count_clips(rows).items())
        states = ", ".join(f"{count} {word}" for word, count in count_sources(sources).items() if count)
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
) -> dict[str, Any]:
    """Write the tars, `index.npz` per split and `manifest.json` into `folder`, which is replaced as a whole.

    Returns:
        The manifest.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    splits = {}
    for split in SPLITS:
        chosen = sorted(
            (clip for clip in prepared if clip.clip.split == split), key=lambda clip: clip.clip.key
        )
        splits[split] = _write_split(chosen, settings.shard_bytes, partial / split)
    manifest = _manifest(prepared, rows, sources, settings, models) | {"splits": splits}
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    (partial / "manifest.json").write_text(text)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return manifest


def group_into_shards(clips: Sequence[PreparedClip], shard_bytes: int) -> list[list[PreparedClip]]:
    """Put clips in order into shards of `shard_bytes` in the mean; those of one source stay in one shard.

    Where a shard begins depends on the sources near by alone, as in content-defined chunking (Muthitacharoen
    et al. 2001): a source of a tenth of `shard_bytes` begins one with a chance of a tenth, by its key. So a
    source that comes or goes changes its own shard, seldom a neighbour. No shard grows beyond twice
    `shard_bytes`, unless a single source is larger.
    """
    by_source: dict[str, list[PreparedClip]] = {}
    for clip in clips:
        by_source.setdefault(clip.clip.source_key, []).append(clip)
    shards: list[list[PreparedClip]] = []
    filled = 0
    for key, group in by_source.items():
        size = sum(sum(clip.frame_bytes) for clip in group)
        chance = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
        if not shards or chance < size / shard_bytes or filled + size > 2 * shard_bytes:
            shards.append([])
            filled = 0
        shards[-1] += group
        filled += size
    return shards


def write_tar(clips: Sequence[PreparedClip], path: Path) -> list[Member]:
    """Write one shard and return where its frames lie, in order."""
    partial = path.with_name(f".{path.name}.partial")
    with (
        partial.open("wb") as file,
        TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False, compress=False) as writer,
    ):
        for prepared in clips:
            key = prepared.clip.key
            metadata = json.dumps(prepared.clip.model_dump(mode="json"), sort_keys=True).encode()
            # The writer sorts a sample's members, which would put the metadata last.
            writer.write({"__key__": key, "json": metadata})
            frames = {f"{number:05d}.jpg": data for number, data in enumerate(prepared.frames())}
            writer.write({"__key__": key, **frames})
    partial.replace(path)
    with tarfile.open(path) as tar:
        return [
            Member(member.name.split(".")[0], member.offset_data, member.size)
            for member in tar
            if member.name.endswith(".jpg")
        ]


def _write_split(clips: Sequence[PreparedClip], shard_bytes: int, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    tars, members, clip_tar, ordered = [], [], [], []
    for number, group in enumerate(group_into_shards(clips, shard_bytes)):
        path = folder / f"{number:05d}.tar"
        members += write_tar(group, path)
        tars.append({"name": path.name, "sha256": file_sha256(path), "bytes": path.stat().st_size})
        clip_tar += [number] * len(group)
        ordered += group
    lengths = [clip.clip.num_frames for clip in ordered]
    if Counter(member.key for member in members) != Counter({c.clip.key: c.clip.num_frames for c in ordered}):
        raise RuntimeError(
            f"the tars in {folder} do not hold the frames that were prepared; delete them and rerun"
        )
    arrays = {
        "tars": np.array([tar["name"] for tar in tars], dtype=np.str_),
        "clip_key": np.array([clip.clip.key for clip in ordered], dtype=np.str_),
        "clip_tar": np.array(clip_tar, dtype=np.int32),
        "clip_first": np.cumsum([0, *lengths], dtype=np.int64),
        "frame_offset": np.array([member.offset for member in members], dtype=np.int64),
        "frame_size": np.array([member.size for member in members], dtype=np.int32),
    }
    with (folder / "index.npz").open("wb") as file:
        # numpy stamps every member with the zip format's first day, so that the file is deterministic.
        np.savez(file, **arrays)
    return {"tars": tars, "clips": [_listing(clip) for clip in ordered]}


def _listing(prepared: PreparedClip) -> dict[str, Any]:
    names = {
        "key", "source_key", "url", "num_frames", "identity", "start_s", "end_s", "by_time", "follows",
    }  # fmt: skip
    return prepared.clip.model_dump(mode="json", include=names)


def _manifest(
    prepared: Sequence[PreparedClip],
    rows: Sequence[ClipRow],
    sources: Sequence[SourceRow],
    settings: ShardsSettings,
    models: Path,
) -> dict[str, Any]:
    rules = settings.model_dump(mode="json", exclude={"num_parallel", "timeout_s"})
    return {
        "format_version": FORMAT_VERSION,
        "size_px": settings.crop.size_px,
        "fps": settings.fps,
        "crop": settings.crop.model_dump(mode="json", include={"rule", "scale", "outside"}),
        "detector": {
            "name": ", ".join(sorted(path.name for path in models.glob("*.onnx"))),
            "sha256": models_sha256(models),
            "licence_note": LICENCE_NOTE,
        },
        "params_sha256": hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest(),
        "counts": {
            "sources": count_sources(sources),
            "clips": count_clips(rows),
            "frames": {
                split: sum(clip.clip.num_frames for clip in prepared if clip.clip.split == split)
                for split in SPLITS
            },
        },
        # Not, where download.accept_incomplete let the run go on without sources that a rerun might bring.
        "complete": not any(row.download.status in TEMPORARY_STATUSES for row in sources),
        "identity_disjoint": not any(clip.clip.by_time for clip in prepared),
    }


def tars_with(index: BinaryIO, source_keys: Collection[str]) -> list[str]:
    """Return the names of a split's tars that hold clips of some videos.

    Args:
        index: the split's `index.npz`.
        source_keys: the videos' keys.
    """
    with np.load(index) as arrays:
        keys, tars, clip_tar = arrays["clip_key"], arrays["tars"], arrays["clip_tar"]
    found = {int(tar) for key, tar in zip(keys, clip_tar, strict=True) if key.split("-")[0] in source_keys}
    return [str(tars[number]) for number in sorted(found)]
