"""How well copies of a recording are found, and whether different recordings are told apart.

Runs as a program of its own on a folder of talking heads: `python -m tests.benchmarks.duplicates FOLDER`.
Pairs in the folder that show one recording are named by `--same a.mp4=b.mp4`. Each video is copied three
times, all are processed as the shards stage does, and the clips compared:

- copies: each video with its copies, by the hash tables and the threshold as in a real run;
- others: clips of different recordings, and the two halves and short pieces of one clip, which stand for
  different recordings of one person in one place. The rate of those that are called duplicates has an upper
  limit, as if the pairs were independent of each other;
- time for as many made-up clips, and for twice as many.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import av
import cv2
import numpy as np
import yaml

from preprocessing.clips.recordings.duplicates import find_duplicates, similarity
from preprocessing.clips.recordings.signature import GRID, Signature
from preprocessing.clips.units import group_into_units, process_here
from preprocessing.faces.calibration import CONFIDENCE, Rate
from preprocessing.settings import ShardsSettings
from tests.benchmarks.factory import make_job

COPIES = {
    # name: height in px (0: four fifths), fps, crf, trimmed at the beginning and the end in s, gamma, tint
    "small": (360, 24, 33, 0.37, 0.0, 1.0, 0),
    "graded": (0, 25, 28, 1.0, 0.5, 0.75, 15),
    "poor": (240, 24, 36, 0.2, 0.0, 1.35, -12),
}
NUM_SYNTHETIC = 10_000
LEAST_S = 1.4
"""Shortest common time of a copy that should be found."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.duplicates", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of videos")
    parser.add_argument("--same", nargs="*", default=[], help="a.mp4=b.mp4 show one recording")
    parser.add_argument("--originals", action="store_true", help="make no copies: others alone, in minutes")
    options = parser.parse_args()
    shipped = ShardsSettings(**yaml.safe_load(Path("pipelines/presets/demo.yaml").read_text())["shards"])
    identity = shipped.identity.model_copy(update={"models": None})
    settings = shipped.model_copy(update={"identity": identity})
    least = settings.quality.min_duplicate_similarity
    assert least is not None
    same = {frozenset(Path(name).stem for name in pair.split("=")) for pair in options.same}
    with tempfile.TemporaryDirectory() as name:
        copies = {} if options.originals else COPIES
        videos = make_copies(sorted(options.folder.glob("*.mp4")), Path(name), copies)
        clips = sign(videos, Path(name), settings)
    report(clips, same, least)
    for count in (NUM_SYNTHETIC, 2 * NUM_SYNTHETIC):
        signatures = dict(made_up(count))
        started = time.perf_counter()
        found = find_duplicates(signatures, {key: key for key in signatures}, least)
        print(f"{count} made-up clips: {time.perf_counter() - started:.1f} s, {len(found)} duplicates")


def make_copies(videos: list[Path], folder: Path, copies: Iterable[str] = COPIES) -> dict[str, Path]:
    """Write copies; return the originals and them by `recording.copy`."""
    found = {}
    for video in videos:
        found[f"{video.stem}.original"] = video
        if not copies:
            continue
        with av.open(str(video)) as container:
            frames = [
                (float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
            ]
        for name in copies:
            path = folder / f"{video.stem}.{name}.mp4"
            write_copy(frames, path, name)
            found[f"{video.stem}.{name}"] = path
    return found


def write_copy(frames: list[tuple[float, np.ndarray]], path: Path, name: str) -> None:
    """Write one copy; each of its frames is the nearest of the original's."""
    height_px, fps, crf, start_s, less_s, gamma, tint = COPIES[name]
    times = np.array([time_s for time_s, _ in frames]) - frames[0][0]
    height, width = frames[0][1].shape[:2]
    scale = height_px / min(height, width) if height_px else 0.8
    size = (2 * round(scale * width / 2), 2 * round(scale * height / 2))
    curve = np.clip(255 * (np.arange(256) / 255) ** gamma * 1.1 - 12, 0, 255)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for moment in np.arange(start_s, times[-1] - less_s, 1 / fps):
            image = frames[int(np.abs(times - moment).argmin())][1]
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            graded = np.clip(curve[small] + np.array([tint, 0, -tint]), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(graded, format="rgb24")))
        container.mux(stream.encode(None))


def sign(videos: dict[str, Path], folder: Path, settings: ShardsSettings) -> dict[str, Signature]:
    """Return the signatures of all kept clips by `recording.copy.number`."""
    tasks = [make_job(path, folder, settings, number) for number, path in enumerate(videos.values())]
    units = group_into_units(tasks, 16, lambda task: task.source)
    results = {result.row_key: result for result in process_here(units, 2, lambda result: None)}
    return {
        f"{name}.{number}": Signature.from_bytes(bytes(clip.signature))
        for name, task in zip(videos, tasks, strict=True)
        for number, clip in enumerate(results[task.source.row_key].clips)
    }


def report(clips: dict[str, Signature], same: set[frozenset[str]], least: float) -> None:
    """Print how many copies are found, and the similarities of clips that are none."""
    recordings = {key: key.split(".")[0] for key in clips}
    names = {
        name: "=".join(sorted(next((p for p in same if name in p), {name}))) for name in recordings.values()
    }
    found = copies = 0
    for one, other in combinations(sorted(clips), 2):
        is_copy = recordings[one] == recordings[other] and "original" in one + other
        if is_copy and one.split(".")[1] != other.split(".")[1] and overlap_s(clips, one, other) > LEAST_S:
            copies += 1
            pair = {key: clips[key] for key in (one, other)}
            is_found = bool(find_duplicates(pair, {one: one, other: other}, least))
            found += is_found
            if not is_found:
                print(f"  missed {one} {other}: {similarity(*pair.values()):.2f}")
    print(f"copies found: {found} of {copies}")
    originals = {key: clip for key, clip in clips.items() if ".original." in key}
    for what, values in compare_others(originals, {key: names[recordings[key]] for key in originals}).items():
        print(describe(what, values, least))


def compare_others(clips: Mapping[str, Signature], recordings: Mapping[str, str]) -> dict[str, list[float]]:
    """Return the similarities of pairs that are no duplicates, by what they are."""
    return {
        "clips of different recordings": [
            similarity(clips[one], clips[other])
            for one, other in combinations(clips, 2)
            if recordings[one] != recordings[other]
        ],
        "halves of one clip": [similarity(*halve(clip)) for clip in clips.values() if len(clip.times_s) > 1],
        "pieces of one clip": [
            similarity(*pair) for clip in clips.values() for pair in combinations(cut_up(clip), 2)
        ],
    }


def describe(what: str, values: list[float], least: float) -> str:
    """Return how many pairs are called duplicates, the limit of that rate, and the highest similarities."""
    rate = Rate(num_errors=sum(value >= least for value in values), num_pairs=len(values))
    highest = ", ".join(f"{value:.2f}" for value in sorted(values, reverse=True)[:5])
    return (
        f"{what}: {rate.num_errors} of {rate.num_pairs} pairs are called duplicates (at most "
        f"{rate.upper:.2%} with {CONFIDENCE:.0%} confidence), highest {highest}; the threshold is {least:g}"
    )


def overlap_s(clips: dict[str, Signature], one: str, other: str) -> float:
    """Return the time that two clips of one recording have in common."""
    trimmed_s = {name: copy[3] for name, copy in COPIES.items()}
    spans = [clips[key].times_s[[0, -1]] + trimmed_s.get(key.split(".")[1], 0.0) for key in (one, other)]
    return float(min(span[1] for span in spans) - max(span[0] for span in spans))


def cut_up(clip: Signature, num_looks: int = 12) -> list[Signature]:
    """Return the pieces of 2.4 s of a clip."""
    starts = range(0, len(clip.times_s) - num_looks + 1, num_looks)
    return [
        Signature(clip.times_s[start : start + num_looks], clip.looks[start : start + num_looks])
        for start in starts
    ]


def halve(clip: Signature) -> tuple[Signature, Signature]:
    """Return the two halves of a clip, which have no look in common."""
    middle = len(clip.times_s) // 2
    one, other = slice(middle), slice(middle, None)
    return Signature(clip.times_s[one], clip.looks[one]), Signature(clip.times_s[other], clip.looks[other])


def made_up(count: int) -> Iterator[tuple[str, Signature]]:
    """Yield clips of 10 s of random people; every hundredth repeats the one before it with noise."""
    random = np.random.default_rng(0)
    person, looks = np.zeros(GRID**2), np.zeros((50, GRID**2))
    for number in range(count):
        if number % 100:
            person = random.normal(0, 25, GRID**2) if number % 10 == 1 else person
            looks = person + np.cumsum(random.normal(0, 3, (50, GRID**2)), axis=0)
        noisy = looks + random.normal(0, 2, looks.shape)
        yield (
            f"{number:06d}",
            Signature(np.arange(50) / 5, np.clip(noisy.round(), -127, 127).astype(np.int8)),
        )


if __name__ == "__main__":
    main()
