"""Small shards written without video tools: what the readers of shards are tested on."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from preprocessing.clips.sample import ClipEntry
from preprocessing.shards.frame_index import INDEX_NAME, FrameIndex, read_index, write_index
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
    read_manifest,
    write_manifest,
)
from preprocessing.storage.files import file_sha256


def make_manifest(size_px: int, splits: Splits | None = None) -> Manifest:
    """Return a manifest of clips at 25 fps; None lists no clips."""
    empty = SplitListing(clips=[], tars=[])
    return Manifest(
        complete=True,
        counts=Counts(clips={}, frames={}, sources={}),
        crop=CropFacts(outside="pad", rule="fomm_square", scale=1.2),
        detector=DetectorFacts(licence_note="", name="", sha256=""),
        format_version=FORMAT_VERSION,
        fps=25,
        identity_disjoint=True,
        identity_disjoint_reason="people were compared",
        params_sha256="",
        size_px=size_px,
        splits=splits or Splits(test=empty, train=empty),
    )


def write_shards(
    directory: Path,
    clips: dict[str, list[np.ndarray]],
    size_px: int,
    yaws_deg: list[np.ndarray] | None = None,
) -> None:
    """Write shards with two clips a tar at most.

    Args:
        directory: where to.
        clips: maps a split to its clips, uint8 [T,S,S,3].
        size_px: listed side of the frames.
        yaws_deg: of each frame of the training clips; None for unknown.
    """
    yaws = {"train": yaws_deg} if yaws_deg else {}
    splits = {
        split: _write_split(directory / split, split, clips.get(split, []), yaws.get(split))
        for split in SPLITS
    }
    write_manifest(directory, make_manifest(size_px, Splits(**splits)))


def _write_split(
    folder: Path, split: str, clips: list[np.ndarray], yaws_deg: list[np.ndarray] | None
) -> SplitListing:
    folder.mkdir(parents=True)
    offsets, sizes = [], []
    for number, frames in enumerate(clips):
        with tarfile.open(folder / f"{number // 2:05d}.tar", "a") as tar:
            for place, frame in enumerate(frames):
                data = io.BytesIO()
                Image.fromarray(frame).save(data, "jpeg", quality=100, subsampling=0)
                info = tarfile.TarInfo(f"{split}-{number}.{place:05d}.jpg")
                info.size = len(data.getvalue())
                offsets.append(tar.offset + tarfile.BLOCKSIZE)
                sizes.append(info.size)
                tar.addfile(info, io.BytesIO(data.getvalue()))
    entries = [
        ClipEntry(
            key=f"{split}-{number}",
            source_key=f"{split}-{number}",
            url=f"http://x/{number}",
            identity=None,
            by_time=False,
            follows=None,
            start_s=0.0,
            end_s=len(frames) / 25,
            num_frames=len(frames),
        )
        for number, frames in enumerate(clips)
    ]
    yaws = yaws_deg or [np.full(len(frames), np.nan) for frames in clips]
    index = FrameIndex(
        tars=sorted(path.name for path in folder.iterdir()),
        clip_key=[entry.key for entry in entries],
        clip_tar=np.array([number // 2 for number in range(len(clips))], np.int32),
        clip_first=np.cumsum([0, *map(len, clips)], dtype=np.int64),
        frame_offset=np.array(offsets, np.int64),
        frame_size=np.array(sizes, np.int32),
        frame_yaw_deg=np.concatenate([[], *yaws]).astype(np.float16),
    )
    write_index(folder / INDEX_NAME, index)
    tars = [
        TarEntry(name=name, bytes=(folder / name).stat().st_size, sha256=file_sha256(folder / name))
        for name in index.tars
    ]
    return SplitListing(clips=entries, tars=tars)


def damage_frame(directory: Path, clip: int, frame: int, *, is_listed: bool = True) -> None:
    """Overwrite a training frame with zeros, and list the hash of its tar as that of the shards if set."""
    folder = directory / "train"
    index = read_index(folder / INDEX_NAME)
    place, number = folder / index.tars[index.clip_tar[clip]], int(index.clip_first[clip]) + frame
    with place.open("r+b") as tar:
        tar.seek(int(index.frame_offset[number]))
        tar.write(bytes(int(index.frame_size[number])))
    if is_listed:
        manifest = read_manifest(directory)
        tars = [
            entry.model_copy(update={"sha256": file_sha256(folder / entry.name)})
            for entry in manifest.splits.train.tars
        ]
        train = manifest.splits.train.model_copy(update={"tars": tars})
        splits = manifest.splits.model_copy(update={"train": train})
        write_manifest(directory, manifest.model_copy(update={"splits": splits}))


def change_held_out(shards, *changes):
    """Update the manifest's entries of the held-out clips, one mapping each."""
    manifest = json.loads((shards / "manifest.json").read_text())
    for clip, each in zip(manifest["splits"]["test"]["clips"], changes, strict=True):
        clip.update(each)
    (shards / "manifest.json").write_text(json.dumps(manifest))


def write_coloured_clips(folder):
    """Write five training clips; every frame has a colour of its own, by its clip and number."""
    clips = [
        np.stack([np.full((32, 32, 3), 10 * clip + frame, np.uint8) for frame in range(4 + clip)])
        for clip in range(5)
    ]
    write_shards(folder, {"train": clips}, 32)
