"""Shards as the data room lays them out, written here without it: the reader's tests need no video tools."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def write_shards(directory: Path, clips: dict[str, list[np.ndarray]], size_px: int) -> None:
    """Write shards with two clips a tar at most; `clips` maps a split to its clips, uint8 [T,S,S,3]."""
    splits = {}
    for split, members in clips.items():
        (directory / split).mkdir(parents=True)
        arrays = {"tars": [], "clip_key": [], "clip_tar": [], "frame_offset": [], "frame_size": []}
        first = [0]
        for number, frames in enumerate(members):
            tar_number = number // 2
            name = f"{tar_number:05d}.tar"
            if name not in arrays["tars"]:
                arrays["tars"].append(name)
            key = f"{split}-{number}"
            arrays["clip_key"].append(key)
            arrays["clip_tar"].append(tar_number)
            first.append(first[-1] + len(frames))
            _append(directory / split / name, key, frames, arrays)
        np.savez(
            directory / split / "index.npz",
            tars=np.array(arrays["tars"]),
            clip_key=np.array(arrays["clip_key"]),
            clip_tar=np.array(arrays["clip_tar"], np.int32),
            clip_first=np.array(first, np.int64),
            frame_offset=np.array(arrays["frame_offset"], np.int64),
            frame_size=np.array(arrays["frame_size"], np.int32),
        )
        splits[split] = {
            "clips": [
                {
                    "key": f"{split}-{n}",
                    "source_key": f"{split}-{n}",
                    "url": f"http://x/{n}",
                    "identity": None,
                    "by_time": False,
                    "follows": None,
                }
                for n in range(len(members))
            ]
        }
    manifest = {"size_px": size_px, "fps": 25, "identity_disjoint": True, "splits": splits}
    (directory / "manifest.json").write_text(json.dumps(manifest))


def _append(tar_path: Path, key: str, frames: np.ndarray, arrays: dict[str, list]) -> None:
    with tarfile.open(tar_path, "a") as tar:
        for number, frame in enumerate(frames):
            data = io.BytesIO()
            Image.fromarray(frame).save(data, "jpeg", quality=100, subsampling=0)
            info = tarfile.TarInfo(f"{key}.{number:05d}.jpg")
            info.size = len(data.getvalue())
            arrays["frame_offset"].append(tar.offset + 512)
            arrays["frame_size"].append(info.size)
            tar.addfile(info, io.BytesIO(data.getvalue()))
