"""Which clips show the same recording twice, by perceptual hashes. Pure.

A clip's hash is 1024 bits: the difference hashes of its face at four moments, evenly spread. Two encodings of
one recording differ in a few per cent of them, two recordings in a third or more.
"""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.appearance import perceptual_hash
from preprocessing.faces.tracks import Tube

NUM_MOMENTS = 4
_NUM_CHUNKS = 64
_MOST_IN_CHUNK = 64
_LEAST_SHARE = 0.05
"""A hash with fewer ones than this belongs to a flat picture and says nothing."""


def clip_hash(tube: Tube) -> str:
    """Return the hash of a clip as 256 hex digits."""
    places = np.linspace(0, len(tube.faces) - 1, NUM_MOMENTS).round().astype(int)
    bits = [perceptual_hash(tube.faces[place].appearance.thumbnail) for place in places]
    return np.packbits(np.concatenate(bits)).tobytes().hex()


def find_duplicates(
    hashes: Mapping[str, str], videos: Mapping[str, str], max_distance: float
) -> dict[str, str]:
    """Return the clips that show what an earlier one does, and which; the first by name stays.

    Clips are compared where they share one of 64 pieces of 16 bits, which two hashes that differ in 5 % of
    the bits miss once in ten thousand million times. A piece that very many share compares the
    first of them alone.

    Args:
        hashes: the hash of each clip, by its key.
        videos: the video of each clip: clips of one video are never duplicates.
        max_distance: greatest share of bits that differ.
    """
    all_bits = {key: np.frombuffer(bytes.fromhex(text), np.uint8) for key, text in hashes.items()}
    bits = {key: value for key, value in all_bits.items() if np.unpackbits(value).mean() > _LEAST_SHARE}
    seen: dict[tuple[int, bytes], list[str]] = defaultdict(list)
    duplicates: dict[str, str] = {}
    for key in sorted(bits):
        pieces = list(enumerate(piece.tobytes() for piece in bits[key].reshape(_NUM_CHUNKS, -1)))
        others = sorted({other for piece in pieces for other in seen[piece]})
        found = (
            other
            for other in others
            if videos[other] != videos[key] and _distance(bits[key], bits[other]) <= max_distance
        )
        original = next(found, None)
        if original is not None:
            duplicates[key] = original
            continue
        for piece in pieces:
            if len(seen[piece]) < _MOST_IN_CHUNK:
                seen[piece].append(key)
    return duplicates


def _distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    return float(np.unpackbits(first ^ second).mean())
