"""Duplicate clips: the same recording in two videos, found by perceptual hashes. Pure.

A clip's hash has 1024 bits: the difference hashes of its face at four evenly spaced moments. Two encodings of
one recording differ in a few per cent of the bits, two recordings in a third or more.
"""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.appearance import perceptual_hash
from preprocessing.faces.tracks import Tube

NUM_MOMENTS = 4
_NUM_CHUNKS = 64
_MAX_PER_CHUNK = 64
_MIN_SHARE_OF_ONES = 0.05
"""A hash with fewer ones comes from a uniform image and identifies nothing."""


def clip_hash(tube: Tube) -> str:
    """Return the hash of a clip as 256 hex digits."""
    places = np.linspace(0, len(tube.faces) - 1, NUM_MOMENTS).round().astype(int)
    bits = [perceptual_hash(tube.faces[place].appearance.luma) for place in places]
    return np.packbits(np.concatenate(bits)).tobytes().hex()


def find_duplicates(
    hashes: Mapping[str, str], videos: Mapping[str, str], max_distance: float
) -> dict[str, str]:
    """Return each duplicate's key with the key of the clip it repeats; the first by key is the original.

    Only clips that share one of 64 chunks of 16 bits are compared. Two hashes that differ in 5 % of their
    bits share none once in 10^10 cases. Of a chunk that many clips share, only the first ones are compared.

    Args:
        hashes: hash of each clip, by its key.
        videos: video of each clip; clips of one video are never duplicates.
        max_distance: greatest share of bits that differ.
    """
    all_bits = {key: np.frombuffer(bytes.fromhex(text), np.uint8) for key, text in hashes.items()}
    bits = {key: value for key, value in all_bits.items() if np.unpackbits(value).mean() > _MIN_SHARE_OF_ONES}
    seen: dict[tuple[int, bytes], list[str]] = defaultdict(list)
    duplicates: dict[str, str] = {}
    for key in sorted(bits):
        chunks = list(enumerate(chunk.tobytes() for chunk in bits[key].reshape(_NUM_CHUNKS, -1)))
        others = sorted({other for chunk in chunks for other in seen[chunk]})
        found = (
            other
            for other in others
            if videos[other] != videos[key] and _distance(bits[key], bits[other]) <= max_distance
        )
        original = next(found, None)
        if original is not None:
            duplicates[key] = original
            continue
        for chunk in chunks:
            if len(seen[chunk]) < _MAX_PER_CHUNK:
                seen[chunk].append(key)
    return duplicates


def _distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    return float(np.unpackbits(first ^ second).mean())
