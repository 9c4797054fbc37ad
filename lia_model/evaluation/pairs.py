"""Which faces are animated by which frames: the frozen list that makes a number repeatable.

Two protocols. Reconstruction: a held-out clip's first frame is animated by its own frames, absolute motion
(lia.md section 8); where the clip is the later part of one that was split by time, the source is the first
frame of the earlier part. Cross-identity: a held-out clip animates the first frame of clips of other people.
Axes: T frames, S side of the image in pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import ValidationError

from lia_model.animator import Mode
from lia_model.data.pixels import decode_jpeg
from lia_model.data.sharded_clips import ShardedClip, ShardedClips
from lia_model.evaluation.metric_table import PROTOCOLS, Protocol
from lia_model.settings import EvaluateSettings, Settings
from preprocessing.media.strips import evenly_spaced
from preprocessing.shards.manifest import Split

FORMAT_VERSION = 1


class SourceFrame(Settings):
    """The face that is animated."""

    split: Split
    """Split of its clip; train only for a held-out clip that follows a training clip."""
    clip: str
    """The clip's key."""
    frame: int
    """The frame's number."""


class Pair(Settings):
    """One source frame and the frames of a held-out clip that drive it."""

    protocol: Protocol
    """Whether source and driving show one person."""
    mode: Mode
    """Motion mode."""
    source: SourceFrame
    """The face that is animated."""
    driving: str
    """Key of the driving clip, of the test split."""
    frames: tuple[int, ...]
    """Its frames."""
    face_frames: tuple[int, ...]
    """Those of them in which faces are read."""
    sha256: str
    """Over the files of the source frame and of `frames`, in this order."""


class Skipped(Settings):
    """Something that was asked for and is not in the result."""

    what: str
    """Metric or protocol."""
    reason: str
    """Why, and what to do."""


class PairList(Settings):
    """All that is compared; written beside the result."""

    format_version: Literal[1]
    """Of this file."""
    manifest_sha256: str
    """Of the shards' manifest.json that it was made from."""
    size_px: int
    """Side of the images."""
    seed: int
    """The choice of cross-identity pairs is a function of it."""
    num_unknown_identities: int
    """Held-out clips whose identity nobody named; each source video counts as a person of its own."""
    pairs: tuple[Pair, ...]
    """Grouped by driving clip."""
    skipped: tuple[Skipped, ...]
    """Protocols that these shards do not allow."""


@dataclass(frozen=True)
class PairFrames:
    """A pair with its pixels."""

    pair: Pair
    driving: ShardedClip
    source_clip: ShardedClip
    source: UInt8[np.ndarray, "S S 3"]
    frames: UInt8[np.ndarray, "T S S 3"]

    @property
    def face_positions(self) -> list[int]:
        """Where the face frames stand among `frames`."""
        return [self.pair.frames.index(number) for number in self.pair.face_frames]


class PairReader:
    """Reads pairs from a shards directory; the training split is opened only where a pair needs it.

    Raises:
        ValueError: there are no shards, or none are held out.
    """

    def __init__(self, shards: Path) -> None:
        self.directory = shards
        self.held_out = ShardedClips(shards, "test")
        self._splits: dict[Split, ShardedClips] = {"test": self.held_out}
        self._clips: dict[Split, dict[str, ShardedClip]] = {
            "test": {clip.key: clip for clip in self.held_out.clips}
        }

    def find(self, split: Split, key: str) -> tuple[ShardedClips, ShardedClip]:
        """Return a clip and the split it is in.

        Raises:
            ValueError: these shards do not hold it.
        """
        if split not in self._splits:
            self._splits[split] = ShardedClips(self.directory, split)
            self._clips[split] = {clip.key: clip for clip in self._splits[split].clips}
        if key not in self._clips[split]:
            raise ValueError(
                f"{self.directory} holds no {split} clip {key}: evaluate on the shards that the list was "
                "made of"
            )
        return self._splits[split], self._clips[split][key]

    def sha256(self, source: SourceFrame, driving: str, frames: Sequence[int]) -> str:
        """Return the hash over the files of a source frame and of driving frames."""
        digest = hashlib.sha256()
        for content in self._files(source, driving, frames):
            digest.update(content)
        return digest.hexdigest()

    def read(self, pair: Pair) -> PairFrames:
        """Decode a pair."""
        source, *frames = map(decode_jpeg, self._files(pair.source, pair.driving, pair.frames))
        _, driving = self.find("test", pair.driving)
        _, source_clip = self.find(pair.source.split, pair.source.clip)
        return PairFrames(pair, driving, source_clip, source, np.stack(frames))

    def require(self, pairs: PairList) -> None:
        """Check that every frame of the list is in these shards, to the byte.

        Raises:
            ValueError: one is not.
        """
        for pair in pairs.pairs:
            clips, driving = self.find("test", pair.driving)
            _, source = self.find(pair.source.split, pair.source.clip)
            in_range = max(pair.frames) < driving.num_frames and pair.source.frame < source.num_frames
            if not in_range or self.sha256(pair.source, pair.driving, pair.frames) != pair.sha256:
                raise ValueError(
                    f"{clips.directory.parent} holds other frames of clip {pair.driving} or of its source "
                    f"{pair.source.clip} than the list: evaluate on the shards that the list was made of"
                )

    def _files(self, source: SourceFrame, driving: str, frames: Sequence[int]) -> Iterator[bytes]:
        clips, clip = self.find(source.split, source.clip)
        yield clips.frame_bytes(clip.index, source.frame)
        clips, clip = self.find("test", driving)
        for number in frames:
            yield clips.frame_bytes(clip.index, number)


def thinned(numbers: Sequence[int], most: int) -> tuple[int, ...]:
    """Return at most `most` of the numbers, evenly spaced, both ends kept."""
    return tuple(int(numbers[place]) for place in evenly_spaced(len(numbers), most))


def freeze(
    reader: PairReader, settings: EvaluateSettings, protocols: Sequence[Protocol] = PROTOCOLS
) -> PairList:
    """Choose what is compared: a function of the shards and the settings alone."""
    clips = reader.held_out.clips
    pairs, skipped = [], []
    for clip in clips:
        if "reconstruction" in protocols:
            pairs.append(_reconstruction(reader, clip, settings))
        if "cross_identity" in protocols:
            pairs += [
                _transfer(reader, clip, source, settings) for source in other_people(clip, clips, settings)
            ]
    if "cross_identity" in protocols and not any(pair.protocol == "cross_identity" for pair in pairs):
        skipped.append(Skipped(what="cross_identity", reason=_why_no_transfer(settings)))
    return PairList(
        format_version=FORMAT_VERSION,
        manifest_sha256=hashlib.sha256((reader.directory / "manifest.json").read_bytes()).hexdigest(),
        size_px=reader.held_out.size_px,
        seed=settings.seed,
        num_unknown_identities=sum(clip.identity is None for clip in clips),
        pairs=tuple(pairs),
        skipped=tuple(skipped),
    )


def _why_no_transfer(settings: EvaluateSettings) -> str:
    if settings.cross_identity.num_sources_per_clip == 0:
        return "evaluate.cross_identity.num_sources_per_clip is 0"
    return "the held-out clips show one identity only: hold out a second person"


def identity_of(clip: ShardedClip) -> str:
    """Return who is seen; a clip that names nobody shows the person of its source video."""
    return clip.identity or f"source {clip.source_key}"


def other_people(
    driving: ShardedClip, clips: Sequence[ShardedClip], settings: EvaluateSettings
) -> list[ShardedClip]:
    """Return the clips whose faces `driving` animates, one for each of so many other identities.

    The order is that of hashes, so that one more clip in the shards moves few of the pairs.
    """

    def rank(clip: ShardedClip) -> str:
        return hashlib.sha256(f"{settings.seed}/{driving.key}/{clip.key}".encode()).hexdigest()

    chosen: dict[str, ShardedClip] = {}
    for clip in sorted(clips, key=rank):
        if identity_of(clip) != identity_of(driving):
            chosen.setdefault(identity_of(clip), clip)
    return list(chosen.values())[: settings.cross_identity.num_sources_per_clip]


def _reconstruction(reader: PairReader, clip: ShardedClip, settings: EvaluateSettings) -> Pair:
    follows = clip.follows
    source = SourceFrame(split="test" if follows is None else "train", clip=follows or clip.key, frame=0)
    frames = thinned(range(clip.num_frames), settings.max_num_frames_per_clip)
    return Pair(
        protocol="reconstruction",
        mode="absolute",
        source=source,
        driving=clip.key,
        frames=frames,
        face_frames=thinned(frames, settings.faces.max_num_frames_per_clip),
        sha256=reader.sha256(source, clip.key, frames),
    )


def _transfer(
    reader: PairReader, clip: ShardedClip, source_clip: ShardedClip, settings: EvaluateSettings
) -> Pair:
    """Pair a clip with another face; only the frames in which faces are read are animated."""
    source = SourceFrame(split="test", clip=source_clip.key, frame=0)
    frames = thinned(range(clip.num_frames), settings.max_num_frames_per_clip)
    frames = thinned(frames, settings.faces.max_num_frames_per_clip)
    return Pair(
        protocol="cross_identity",
        mode=settings.cross_identity.mode,
        source=source,
        driving=clip.key,
        frames=frames,
        face_frames=frames,
        sha256=reader.sha256(source, clip.key, frames),
    )


def write_list(pairs: PairList, path: Path) -> None:
    """Write the list as JSON, a pair a line."""
    content = pairs.model_dump(mode="json")
    lines = ",\n  ".join(json.dumps(pair) for pair in content.pop("pairs"))
    head = json.dumps(content, indent=1).removesuffix("\n}")
    path.write_text(f'{head},\n "pairs": [\n  {lines}\n ]\n}}\n')


def read_list(path: Path) -> PairList:
    """Read a list that `write_list` wrote.

    Raises:
        ValueError: the file is missing or is none.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: name an evaluation_list.json that `lia evaluate` wrote")
    try:
        return PairList.model_validate(json.loads(path.read_text()))
    except (json.JSONDecodeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} is no evaluation list ({reason}): name an evaluation_list.json that `lia evaluate` wrote"
        ) from None
