"""Chooses the pairs that an evaluation compares from the held-out clips."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from lia_model.data.pair_list import (
    FORMAT_VERSION,
    PROTOCOLS,
    Pair,
    PairList,
    Protocol,
    Skipped,
    SourceFrame,
)
from lia_model.data.pair_reader import PairReader
from lia_model.data.sharded_clips import ShardedClip
from lia_model.settings import EvaluateSettings
from preprocessing.clips.sample import ClipEntry
from preprocessing.strips import evenly_spaced


def sample_evenly(numbers: Sequence[int], max_count: int) -> tuple[int, ...]:
    """Return at most `max_count` of the numbers, evenly spaced, including both ends."""
    return tuple(int(numbers[place]) for place in evenly_spaced(len(numbers), max_count))


def choose_pairs(
    reader: PairReader, settings: EvaluateSettings, protocols: Sequence[Protocol] = PROTOCOLS
) -> PairList:
    """Choose the pairs to compare: a pure function of the shards and the settings."""
    clips = reader.held_out.clips
    pairs, skipped = [], []
    for clip in clips:
        if "reconstruction" in protocols:
            pairs.append(_reconstruction(reader, clip, settings))
        if "cross_identity" in protocols:
            pairs += [
                _transfer(reader, clip, source, settings)
                for source in other_identities(clip, clips, settings)
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
    return "the held-out clips show one identity only: hold out a second one"


def identity_of(clip: ClipEntry) -> str:
    """Return the clip's identity; without a named one, its source video counts as an identity."""
    return clip.identity or f"source {clip.source_key}"


def deciding_clips(clips: Collection[ShardedClip]) -> list[ShardedClip]:
    """Return the held-out clips by which models are judged: those that are split by time, if there are any.

    Such a set is too small to learn other people from, so the clips of others judge nothing.
    """
    return [clip for clip in clips if clip.by_time] or list(clips)


def other_identities(
    driving: ShardedClip, clips: Sequence[ShardedClip], settings: EvaluateSettings
) -> list[ShardedClip]:
    """Return the clips whose first frames `driving` animates, each of another identity.

    They are ranked by hashes, so that adding a clip to the shards changes few pairs.
    """

    def rank(clip: ShardedClip) -> str:
        return hashlib.sha256(f"{settings.seed}/{driving.key}/{clip.key}".encode()).hexdigest()

    chosen: dict[str, ShardedClip] = {}
    for clip in sorted(clips, key=rank):
        if identity_of(clip) != identity_of(driving):
            chosen.setdefault(identity_of(clip), clip)
    return list(chosen.values())[: settings.cross_identity.num_sources_per_clip]


def reconstruction_source(clip: ShardedClip) -> SourceFrame:
    """Return the frame that the clip's own motion animates: its first, or that of the clip it continues."""
    follows = clip.follows
    return SourceFrame(split="test" if follows is None else "train", clip=follows or clip.key, frame=0)


def _reconstruction(reader: PairReader, clip: ShardedClip, settings: EvaluateSettings) -> Pair:
    source = reconstruction_source(clip)
    frames = sample_evenly(range(clip.num_frames), settings.max_num_frames_per_clip)
    return Pair(
        protocol="reconstruction",
        mode="absolute",
        source=source,
        driving=clip.key,
        frames=frames,
        face_frames=sample_evenly(frames, settings.faces.max_num_frames_per_clip),
        sha256=reader.sha256(source, clip.key, frames),
    )


def _transfer(
    reader: PairReader, clip: ShardedClip, source_clip: ShardedClip, settings: EvaluateSettings
) -> Pair:
    """Pair a clip with a clip of another identity; only frames in which faces are read are animated."""
    source = SourceFrame(split="test", clip=source_clip.key, frame=0)
    frames = sample_evenly(range(clip.num_frames), settings.max_num_frames_per_clip)
    frames = sample_evenly(frames, settings.faces.max_num_frames_per_clip)
    return Pair(
        protocol="cross_identity",
        mode=settings.cross_identity.mode,
        source=source,
        driving=clip.key,
        frames=frames,
        face_frames=frames,
        sha256=reader.sha256(source, clip.key, frames),
    )
