"""Frames of pairs, decoded from the shards; a pair with a frame that does not decode becomes another pair.

Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from lia_model.data.pixels import UndecodableImageError, decode_frame_of_size
from lia_model.data.sharded_clips import ShardedClips
from lia_model.training.pairs.damage import DamagedFrame, ReplacedPair
from lia_model.training.pairs.draw import Pair, PairDraw

MAX_REPLACEMENTS = 20
"""Pairs tried in the place of one that does not decode."""

log = logging.getLogger(__name__)


class PairDecoder:
    """Decodes pairs by their numbers.

    The replacement of a pair is a function of the seed and its number alone, as the pair itself is.

    Args:
        clips: where frames are read from.
        draw: which frames are a pair, and its replacements.
    """

    def __init__(self, clips: ShardedClips, draw: PairDraw) -> None:
        self._clips = clips
        self._draw = draw
        # Pairs are decoded ahead in a thread of their own.
        self._lock = threading.Lock()
        self._replaced: list[ReplacedPair] = []
        self._warned: set[DamagedFrame] = set()

    def decode(self, numbers: Sequence[int]) -> UInt8[np.ndarray, "B 2 S S 3"]:
        """Return the source and driving frame of each pair."""
        size_px = self._clips.size_px
        frames = np.empty((len(numbers), 2, size_px, size_px, 3), np.uint8)
        pairs = [self._draw.pair(number) for number in numbers]
        places: dict[int, list[int]] = {}
        for place, (clip, *_) in enumerate(pairs):
            places.setdefault(clip, []).append(place)
        for clip, visited in places.items():
            files = self._clips.files(clip, {frame for place in visited for frame in pairs[place][1:]})
            for place in visited:
                if damaged := self._decode_pair(pairs[place], files, frames[place]):
                    self._replace_pair(numbers[place], damaged, frames[place])
        return frames

    def take_replaced(self, end: int) -> list[ReplacedPair]:
        """Return the replaced pairs with numbers below `end` that were not returned before.

        Those decoded ahead stay: a run that is resumed at `end` decodes them again.
        """
        with self._lock:
            taken = [pair for pair in self._replaced if pair.number < end]
            self._replaced = [pair for pair in self._replaced if pair.number >= end]
        return taken

    def _decode_pair(
        self, pair: Pair, files: dict[int, bytes], into: UInt8[np.ndarray, "2 S S 3"]
    ) -> list[DamagedFrame]:
        """Decode both frames; return the damaged ones."""
        clip, *numbers = pair
        damaged = []
        for side, number in enumerate(numbers):
            try:
                into[side] = decode_frame_of_size(files[number], self._clips.size_px)
            except UndecodableImageError as error:
                damaged.append(
                    DamagedFrame(self._clips.clips[clip].key, number, self._clips.shard(clip), str(error))
                )
        for frame in damaged:
            if frame not in self._warned:
                log.warning("%s does not decode; another pair takes its place", frame)
                self._warned.add(frame)
        return damaged

    def _replace_pair(
        self, number: int, damaged: list[DamagedFrame], into: UInt8[np.ndarray, "2 S S 3"]
    ) -> None:
        is_replaced = False
        for attempt in range(1, MAX_REPLACEMENTS + 1):
            pair = self._draw.replacement(number, attempt)
            found = self._decode_pair(pair, self._clips.files(pair[0], pair[1:]), into)
            damaged = damaged + found
            if not found:
                is_replaced = True
                break
        else:
            # Not an error here, which the other ranks would not hear of. The next report ends the run, before
            # a checkpoint holds anything of this pair.
            into[:] = 0
        with self._lock:
            self._replaced.append(ReplacedPair(number, tuple(damaged), is_replaced))
