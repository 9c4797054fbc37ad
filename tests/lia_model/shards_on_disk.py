"""Small shards written without video tools: what the readers of shards are tested on."""

import dataclasses
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from preprocessing.clips.sample import ClipEntry
from preprocessing.shards.clip_index import (
    INDEX_NAME,
    build_index,
    list_split,
    read_index,
    write_index,
)
from preprocessing.shards.frame_index import frames_name, make_frames, map_frames, write_frames
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
    empty = SplitListing(index_sha256="", num_by_time=0, num_people=0, num_videos=0, tars=[])
    return Manifest(
        complete=True,
        counts=Counts(clips={}, frames={}, sources={}),
        crop=CropFacts(outside="pad", rule="fomm_square", scale=1.2),
        detector=DetectorFacts(licence_note="", name="", sha256=""),
        draw="",
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
    yaws = yaws_deg or [np.full(len(frames), np.nan) for frames in clips]
    for number, frames in enumerate(clips):
        offsets, sizes = [], []
        with tarfile.open(folder / f"{number // 2:05d}.tar", "a") as tar:
            for place, frame in enumerate(frames):
                data = io.BytesIO()
                Image.fromarray(frame).save(data, "jpeg", quality=100, subsampling=0)
                info = tarfile.TarInfo(f"{split}-{number}.{place:05d}.jpg")
                info.size = len(data.getvalue())
                offsets.append(tar.offset + tarfile.BLOCKSIZE)
                sizes.append(info.size)
                tar.addfile(info, io.BytesIO(data.getvalue()))
        beside = folder / f"{number // 2:05d}.npy"
        earlier = [map_frames(beside)] if number % 2 else []
        write_frames(beside, np.concatenate([*earlier, make_frames(offsets, sizes, yaws[number])]))
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
    has_yaw = [not np.isnan(each).any() for each in yaws]
    tars = sorted(path.name for path in folder.glob("*.tar"))
    index = build_index(tars, [number // 2 for number in range(len(clips))], entries, has_yaw)
    write_index(folder / INDEX_NAME, index)
    return list_written(folder)


def list_written(folder: Path) -> SplitListing:
    """Return what the manifest says of the files of a split."""
    index = read_index(folder / INDEX_NAME)
    lengths = np.diff(index.clip_first)
    tars = [
        TarEntry(
            name=name,
            bytes=(folder / name).stat().st_size,
            sha256=file_sha256(folder / name),
            frames_sha256=file_sha256(folder / frames_name(name)),
            recipe_sha256=file_sha256(folder / name),
            num_clips=int((index.clip_tar == number).sum()),
            num_frames=int(lengths[index.clip_tar == number].sum()),
        )
        for number, name in enumerate(index.tars)
    ]
    return list_split(index, tars, file_sha256(folder / INDEX_NAME))


def list_again(directory: Path) -> None:
    """Write the manifest anew for the files that are there."""
    manifest = read_manifest(directory)
    splits = Splits(**{split: list_written(directory / split) for split in SPLITS})
    write_manifest(directory, manifest.model_copy(update={"splits": splits}))


def frame_place(directory: Path, clip: int, frame: int) -> tuple[Path, int, int]:
    """Return the tar of a training frame, and its offset and size in bytes."""
    folder = directory / "train"
    index = read_index(folder / INDEX_NAME)
    tar = index.clip_tar[clip]
    first = index.clip_first[clip] - index.clip_first[np.flatnonzero(index.clip_tar == tar)[0]]
    place = map_frames(folder / frames_name(index.tars[tar]))[first + frame]
    return folder / index.tars[tar], int(place["offset"]), int(place["size"])


def damage_frame(directory: Path, clip: int, frame: int, *, is_listed: bool = True) -> None:
    """Overwrite a training frame with zeros, and list the hash of its tar as that of the shards if set."""
    path, offset, size = frame_place(directory, clip, frame)
    with path.open("r+b") as tar:
        tar.seek(offset)
        tar.write(bytes(size))
    if is_listed:
        list_again(directory)


def change_held_out(shards: Path, *changes: dict[str, object]) -> None:
    """Update the entries of the held-out clips, one mapping each."""
    path = shards / "test" / INDEX_NAME
    index = read_index(path)
    entries = [index.entry(number).model_copy(update=each) for number, each in enumerate(changes)]
    write_index(path, build_index(index.tars, index.clip_tar.tolist(), entries, index.has_yaw.tolist()))
    list_again(shards)


def change_yaws(shards: Path, split: str, yaws_deg: list[np.ndarray]) -> None:
    """Give the frames of a split other yaws."""
    folder = shards / split
    index = read_index(folder / INDEX_NAME)
    for number, name in enumerate(index.tars):
        frames = np.array(map_frames(folder / frames_name(name)))
        frames["yaw_deg"] = np.concatenate(
            [yaws_deg[clip] for clip in np.flatnonzero(index.clip_tar == number)]
        )
        write_frames(folder / frames_name(name), frames)
    has_yaw = np.array([not np.isnan(each).any() for each in yaws_deg])
    write_index(folder / INDEX_NAME, dataclasses.replace(index, has_yaw=has_yaw))
    list_again(shards)


def write_coloured_clips(folder):
    """Write five training clips; every frame has a colour of its own, by its clip and number."""
    clips = [
        np.stack([np.full((32, 32, 3), 10 * clip + frame, np.uint8) for frame in range(4 + clip)])
        for clip in range(5)
    ]
    write_shards(folder, {"train": clips}, 32)
