"""The held-out pairs that a run is validated on: the same at every step, from the list of the evaluation.

Large turns of the head are rare in most clips, so each clip gives, beside evenly spaced frames, the one that
is turned farthest from its source.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lia_model.data.pair_choice import deciding_clips, identity_of, reconstruction_source, sample_evenly
from lia_model.data.pair_list import Pair, SourceFrame
from lia_model.data.pair_reader import PairReader
from lia_model.data.sharded_clips import ShardedClip
from lia_model.settings import ValidationSettings
from preprocessing.shards.manifest import read_manifest


@dataclass(frozen=True)
class TurnedPair:
    """A reconstruction pair, and how far its driving frames are turned from its source frame."""

    pair: Pair
    turn_deg: Float[np.ndarray, " T"] | None
    """Difference in yaw of each driving frame, without sign; None where it was not measured."""
    is_deciding: bool = True
    """Whether the score that chooses the best weights counts this clip."""

    @property
    def farthest(self) -> int:
        """Return the position of the frame that is turned farthest, or the last one."""
        return len(self.pair.frames) - 1 if self.turn_deg is None else int(self.turn_deg.argmax())


def choose_validation_pairs(reader: PairReader, settings: ValidationSettings) -> tuple[TurnedPair, ...]:
    """Choose the pairs, first those that decide: a pure function of the shards and the settings."""
    clips = reader.held_out.clips
    deciding = {clip.key for clip in deciding_clips(clips)}
    chosen: list[ShardedClip] = []
    for is_deciding in (True, False):
        numbers = [number for number, clip in enumerate(clips) if (clip.key in deciding) == is_deciding]
        room = settings.max_num_clips - len(chosen)
        chosen += [clips[number] for number in sample_evenly(numbers, room)]
    return tuple(_pair(reader, clip, settings, is_deciding=clip.key in deciding) for clip in chosen)


def list_sha256(pairs: tuple[TurnedPair, ...]) -> str:
    """Return a hash of the list and of the frames in it."""
    return hashlib.sha256("".join(each.pair.model_dump_json() for each in pairs).encode()).hexdigest()


def other_person(pairs: tuple[TurnedPair, ...], clips: dict[str, ShardedClip], number: int) -> Pair | None:
    """Return the next pair after `number`, in a circle, whose driving clip shows another person; or None."""
    own = identity_of(clips[pairs[number].pair.driving])
    following = (pairs[(number + offset) % len(pairs)].pair for offset in range(1, len(pairs)))
    return next((pair for pair in following if identity_of(clips[pair.driving]) != own), None)


def has_held_out_clips(shards: Path) -> bool:
    """Return whether the shards hold clips to validate on."""
    return read_manifest(shards).splits.test.num_clips > 0


def _pair(
    reader: PairReader, clip: ShardedClip, settings: ValidationSettings, *, is_deciding: bool
) -> TurnedPair:
    source = reconstruction_source(clip)
    turns = _turns(reader, clip, source)
    # The source itself would be a frame without motion.
    first = 1 if source.clip == clip.key else 0
    frames = list(sample_evenly(range(first, clip.num_frames), settings.max_num_frames_per_clip))
    if turns is not None and (farthest := first + int(turns[first:].argmax())) not in frames:
        frames[-1] = farthest
    frames = sorted(frames)
    pair = Pair(
        protocol="reconstruction",
        mode="absolute",
        source=source,
        driving=clip.key,
        frames=tuple(frames),
        face_frames=(),
        sha256=reader.sha256(source, clip.key, frames),
    )
    return TurnedPair(pair, None if turns is None else turns[frames], is_deciding)


def _turns(reader: PairReader, clip: ShardedClip, source: SourceFrame) -> Float[np.ndarray, " T"] | None:
    clips, source_clip = reader.find(source.split, source.clip)
    of_source, of_clip = clips.yaw_deg(source_clip.index), reader.held_out.yaw_deg(clip.index)
    if of_source is None or of_clip is None:
        return None
    return np.abs(of_clip - of_source[source.frame])
