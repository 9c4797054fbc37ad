"""Listing shards: the index of 100 million frames, opening a split of a million clips, adding one source.

The first two write no pictures: all tars are links to one file with one picture, since 100 million frames
take a terabyte. Each runs as a program of its own (`python -m tests.benchmarks.shard_index STEP FOLDER`), so
that its memory is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tests.benchmarks.timing import Row
from tests.peak_memory import forget_peak, peak_bytes

NUM_FRAMES = 100_000_000
NUM_LISTED_CLIPS, NUM_OPENED_CLIPS = 400_000, 1_000_000
"""Of 250 frames each, and of 100."""
SHARD_BYTES = 800_000_000
FRAME_BYTES = 16_000
SIZE_PX = 64
NUM_SOURCES, SOURCE_BYTES = 60, 5_000_000
_FLOOR = """
import sys
from pathlib import Path
for path in sorted(Path(sys.argv[1]).rglob("index.npz")):
    path.read_bytes()
import numpy, pydantic, torch
"""
"""What nobody gets below: the imports and the bytes of the index."""


def measure(num_rounds: int) -> Iterator[Row]:
    """Measure the three steps."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = _run("list", folder / "listed")
        note = f"at most {told['peak_gb']:.2f} GB, of which the clips {told['clips_gb']:.2f}"
        yield Row("planning", f"index of {NUM_FRAMES} frames", {"ours": [told["seconds"]]}, note)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run("fill", folder / "shards")
        rounds, bare = [], []
        for _ in range(num_rounds):
            rounds.append(_run("open", folder / "shards"))
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", _FLOOR, str(folder)], check=True)
            bare.append(time.perf_counter() - started)
        seconds = {"ours": [each["seconds"] for each in rounds], "imports and bytes": bare}
        note = f"at most {max(each['peak_gb'] for each in rounds):.2f} GB, imports not counted in ours"
        yield Row("planning", f"opening {NUM_OPENED_CLIPS} clips", seconds, note)
    with tempfile.TemporaryDirectory() as name:
        told = _run("add", Path(name))
        note = (
            f"changed shards {told['changed'] / 1e6:.1f} of {told['all'] / 1e6:.0f} MB; "
            f"written {told['written'] / 1e6:.1f} MB, read {told['read'] / 1e6:.1f} MB"
        )
        name = f"one source more than {NUM_SOURCES}"
        yield Row("planning", name, {"ours": [told["seconds"]], "all again": [told["again"]]}, note)


def _run(step: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.shard_index", step, str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _made_up_clips(num_clips: int):
    """Return clips as a run decides about them, five of each source."""
    from preprocessing.clips.sample import KeptClip

    clips = []
    for source in range(num_clips // 5):
        key = hashlib.sha1(str(source).encode()).hexdigest()
        url, folder = f"https://www.youtube.com/watch?v={source:011d}", Path(f"data/clips/{key}-whole")
        for number in range(5):
            clips.append(
                KeptClip(
                    key=f"{key}-whole-{number:03d}-000000", source_key=key, url=url,
                    identity=f"id{source // 25:06d}", by_time=False, follows=None, start_s=10.0 * number,
                    end_s=10.0 * number + 9.5, num_frames=NUM_FRAMES // num_clips, split="train",
                    num_bytes=NUM_FRAMES // num_clips * FRAME_BYTES, num_source_pixels=1, has_yaw=True,
                    signature=b"", content=os.urandom(32), folder=folder,
                )
            )  # fmt: skip
    return clips


def _list(folder: Path, num_clips: int) -> dict[str, float]:
    """Write the index of a split by the writer's own code, with tars that are links."""
    from PIL import Image

    from preprocessing.shards import writer
    from preprocessing.shards.frame_index import frames_name, make_frames, write_frames
    from preprocessing.shards.manifest import SPLITS, Splits, TarEntry, write_manifest
    from tests.lia_model.shards_on_disk import make_manifest

    folder.mkdir()
    data = io.BytesIO()
    Image.new("RGB", (SIZE_PX, SIZE_PX)).save(data, "jpeg")
    picture = folder / "picture"
    picture.write_bytes(data.getvalue())

    def write_tar(clips: Sequence, path: Path) -> TarEntry:
        os.link(picture, path)
        count = sum(clip.num_frames for clip in clips)
        sizes = np.full(count, picture.stat().st_size)
        frames = make_frames(np.zeros(count), sizes, np.linspace(-30, 30, count))
        write_frames(path.with_name(frames_name(path.name)), frames)
        return TarEntry(
            name=path.name, bytes=count * FRAME_BYTES, sha256="", frames_sha256="",
            recipe_sha256=writer.recipe_sha256(clips), num_clips=len(clips), num_frames=count,
        )  # fmt: skip

    writer.write_tar = write_tar
    clips = _made_up_clips(num_clips)
    clips_bytes = peak_bytes()
    started = time.perf_counter()
    clips.sort(key=lambda clip: clip.key)
    listings = {
        split: writer.write_split(
            clips if split == "train" else [], SHARD_BYTES, folder, folder, split, writer.write_tars_here
        )
        for split in SPLITS
    }
    write_manifest(folder, make_manifest(SIZE_PX, Splits(**listings)))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_gb": peak_bytes() / 1e9, "clips_gb": clips_bytes / 1e9}


def _open(shards: Path) -> dict[str, float]:
    """Open a split as a training does, and draw and decode its first pairs."""
    from lia_model.data.sharded_clips import ShardedClips
    from lia_model.training.pairs.draw import build_draw
    from pipelines.params import read_params

    settings = read_params(Path("params.yaml")).train
    started = time.perf_counter()
    clips = ShardedClips(shards, "train")
    draw = build_draw(clips, settings)
    for number in range(32):
        clip, source, driving = draw.pair(number)
        clips.frame(clip, source)
        clips.frame(clip, driving)
    return {"seconds": time.perf_counter() - started, "peak_gb": peak_bytes() / 1e9}


def _add(folder: Path) -> dict[str, float]:
    """Write shards of many sources, then with one more, and count the bytes that pass between."""
    from pipelines.params import read_params
    from preprocessing.clips.splitting.disjointness import Disjointness
    from preprocessing.shards.writer import describe_shards, write_shards

    settings = read_params(Path("params.yaml")).shards.model_copy(update={"shard_bytes": 4 * SOURCE_BYTES})
    clips = [_store_clip(folder / "clips", number) for number in range(NUM_SOURCES + 1)]

    def write(chosen: Sequence, name: str):
        models = Path(settings.detect.models)
        describe = partial(describe_shards, chosen, [], [], settings, models, Disjointness(None, ""))
        return write_shards(chosen, settings.shard_bytes, folder / name, describe)

    before = {tar.sha256 for tar in write(clips[:-1], "shards").splits.train.tars}
    forget_peak()
    start, started = _passed(), time.perf_counter()
    tars = write(clips, "shards").splits.train.tars
    seconds, passed = time.perf_counter() - started, _passed()
    started = time.perf_counter()
    write(clips, "again")
    return {
        "seconds": seconds,
        "again": time.perf_counter() - started,
        "read": passed["rchar"] - start["rchar"],
        "written": passed["wchar"] - start["wchar"],
        "changed": sum(tar.bytes for tar in tars if tar.sha256 not in before),
        "all": sum(tar.bytes for tar in tars),
    }


def _store_clip(folder: Path, number: int):
    """Store a clip of noise as the only one of its source."""
    from preprocessing.clips.sample import ClipMetadata, PreparedClip
    from preprocessing.clips.stored_result import SourceResult, write_result

    draw = random.Random(number)
    url = f"http://a.org/{number}.mp4"
    key = hashlib.sha1(url.encode()).hexdigest()
    frames = [draw.randbytes(FRAME_BYTES) for _ in range(SOURCE_BYTES // FRAME_BYTES)]
    file = folder / key / f"{key}-whole-000-000000.jpgs"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"".join(frames))
    clip = ClipMetadata(
        key=file.stem, source_key=key, url=url, licence=None, identity=None, split="train", by_time=False,
        follows=None, start_s=0.0, end_s=len(frames) / 25, num_frames=len(frames), fps=25.0,
        times_s=[round(number / 25, 6) for number in range(len(frames))], size_px=256,
        crop_rule="fomm_square", crop_box=(0, 0, 256, 256), frame_size_px=(640, 360), mean_score=0.9,
    )  # fmt: skip
    prepared = PreparedClip(
        clip=clip,
        file=file,
        frame_bytes=[FRAME_BYTES] * len(frames),
        frames_sha256=hashlib.sha256(b"".join(frames)).hexdigest(),
        signature="",
    )
    result = SourceResult(row_key=key, fingerprint="f", rows=[], prepared=[prepared], people=[])
    write_result(file.parent, result, {})
    return prepared.kept()


def _passed() -> dict[str, int]:
    """Return the bytes that this program has read and written, from and to the cache of the system too."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=("list", "fill", "open", "add"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    steps = {
        "list": lambda folder: _list(folder, NUM_LISTED_CLIPS),
        "fill": lambda folder: _list(folder, NUM_OPENED_CLIPS),
        "open": _open,
        "add": _add,
    }
    print(json.dumps(steps[options.step](options.folder)))
