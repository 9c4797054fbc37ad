"""Duplicate clips: one recording in two videos, re-encoded, graded, resized, cropped anew or trimmed. Pure.

Two clips are compared at every offset in time at which they overlap by 1.2 s or more. Their similarity is the
correlation of how their looks deviate from the mean of the overlap, that is of the movements of the face; the
means must match too. Two recordings of one person in one place have equal means, but other movements.

Measured with `python -m tests.benchmarks.duplicates FOLDER` on 26 talking heads of 3 to 22 s and three copies
of each (240 px or more, H.264 at CRF 28 to 36, 24 and 25 fps, graded, trimmed by 0.2 to 1 s), at a minimum
similarity of 0.6: of 81 copies that share 1.4 s or more, 80 are found (the other has 0.59). Of 374 pairs of
different recordings none is called a duplicate (at most 0.30). One person in one place is the hard case: of
127 pairs of 2.4 s pieces of one clip two are called duplicates (0.68 and 0.60), and of 28 pairs of halves
one (0.71), of a person who holds still and makes the same faces twice, in one rhythm; the others have at most
0.56. Two pairs of files that the folder holds twice, cropped anew, are found (0.88 and 0.82).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import SupportsBytes

import numpy as np
from numpy.typing import NDArray

from preprocessing.clips.recordings.signature import GRID, Signature

MIN_OVERLAP_S = 1.2
"""Shortest time that two clips have in common."""
MIN_MEAN_SIMILARITY = 0.8
"""Minimum correlation of the mean looks."""
_DOUBT_S = 0.6
"""Similarity is reduced as if the overlap lasted so much longer without likeness: in a short one, any two
nods are alike."""
_OFFSET_STEP_S = 0.1
_NUM_TABLES = 16
_NUM_BITS = 40
_EVERY = 2
"""Only every second look is looked up; neighbours are nearly equal."""
_NUM_NEIGHBOURS = 16
"""Most clips with which a look is compared in one table."""
_PIECE_NUM_LOOKS = 100_000
"""Looks hashed at a time."""
_SEED = 0


def find_duplicates(
    signatures: Mapping[str, SupportsBytes], videos: Mapping[str, str], min_similarity: float
) -> dict[str, str]:
    """Return each duplicate's key with the key of the clip it repeats, which comes earlier in `signatures`.

    Only clips are compared of which two looks share all 40 bits of one of 16 hash tables (random hyperplanes,
    Charikar 2002), and at most 16 for each look and table, so the time grows in proportion to the clips.

    Args:
        signatures: bytes of each clip's signature, by its key; those to prefer first. Of all clips together
            only every second look is in memory.
        videos: video of each clip; clips of one video are never duplicates.
        min_similarity: least similarity of two clips of one recording, -1 to 1.
    """
    keys = list(signatures)
    earlier: dict[int, list[int]] = defaultdict(list)
    every = (Signature.from_bytes(bytes(signature)) for signature in signatures.values())
    for one, other in _candidate_pairs(every, [videos[key] for key in keys]):
        earlier[other].append(one)
    duplicates: dict[str, str] = {}
    for place in sorted(earlier):
        kept = (keys[one] for one in earlier[place] if keys[one] not in duplicates)
        signature = Signature.from_bytes(bytes(signatures[keys[place]]))
        others = ((key, Signature.from_bytes(bytes(signatures[key]))) for key in kept)
        found = (key for key, other in others if similarity(other, signature) >= min_similarity)
        original = next(found, None)
        if original is not None:
            duplicates[keys[place]] = original
    return duplicates


def similarity(first: Signature, second: Signature) -> float:
    """Return how alike two clips move where they match best in time, 0 to 1.

    It is 0 if they overlap nowhere long enough with mean looks that are alike, or if nothing moves. A clip of
    2 s has a similarity of 0.77 to itself, one of 10 s of 0.94.
    """
    one, other = _evenly(first), _evenly(second)
    num_offsets = len(one) + len(other) - 1
    overlaps = _sums_by_offset(np.ones((len(one), len(other))))
    if num_offsets < 1 or overlaps.max() * _OFFSET_STEP_S <= MIN_OVERLAP_S:
        return 0.0
    products = _sums_by_offset(one @ other.T)
    one_sums, one_squares = _overlap_sums(one, len(other))
    other_sums, other_squares = (sums[::-1] for sums in _overlap_sums(other, len(one)))
    is_long = overlaps * _OFFSET_STEP_S > MIN_OVERLAP_S
    lengths = np.maximum(overlaps, 1.0)
    mean_products = (one_sums * other_sums).sum(axis=1) / lengths
    one_mean, other_mean = ((sums**2).sum(axis=1) / lengths for sums in (one_sums, other_sums))
    means = mean_products / np.sqrt(np.maximum(one_mean * other_mean, 1e-9))
    energy = np.maximum(one_squares - one_mean, 0) * np.maximum(other_squares - other_mean, 0)
    # Looks are whole numbers, so what is below 1 is a rounding error.
    moves = np.where(energy > 1, (products - mean_products) / np.sqrt(np.maximum(energy, 1)), 0.0)
    durations_s = _OFFSET_STEP_S * overlaps
    moves *= durations_s / (durations_s + _DOUBT_S)
    return float(np.max(moves, initial=0.0, where=is_long & (means >= MIN_MEAN_SIMILARITY)))


def _evenly(signature: Signature) -> NDArray[np.float64]:
    """Return the looks interpolated at steps of `_OFFSET_STEP_S`: [M, D]."""
    times_s = signature.times_s
    if len(times_s) == 0:
        return np.zeros((0, GRID**2))
    wanted = np.arange(times_s[0], times_s[-1] + 1e-6, _OFFSET_STEP_S)
    columns = [np.interp(wanted, times_s, column) for column in signature.looks.T.astype(np.float64)]
    return np.stack(columns, axis=1)


def _sums_by_offset(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each diagonal of an [A, B] matrix, from the lower left one on: [A + B - 1]."""
    num_rows, num_columns = products.shape
    if not products.size:
        return np.zeros(0)
    # In rows that are one longer than the number of diagonals, the entries of a diagonal are one column.
    padded = np.zeros((num_rows, num_rows + num_columns))
    padded[:, :num_columns] = products[::-1]
    width = num_rows + num_columns - 1
    return padded.ravel()[: num_rows * width].reshape(num_rows, width).sum(axis=0)


def _overlap_sums(
    looks: NDArray[np.float64], other_length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums [O, D] of looks, and of all their squares [O], in the overlap at each of O offsets."""
    offsets = np.arange(len(looks) + other_length - 1)
    starts = np.maximum(len(looks) - 1 - offsets, 0)
    ends = np.minimum(len(looks) - 1 - offsets + other_length, len(looks))
    sums = np.concatenate([np.zeros((1, GRID**2)), np.cumsum(looks, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum((looks**2).sum(axis=1))])
    return sums[ends] - sums[starts], squares[ends] - squares[starts]


def _candidate_pairs(signatures: Iterable[Signature], videos: list[str]) -> NDArray[np.int64]:
    """Return pairs of places of clips of two videos that share a hash, sorted, the smaller place first."""
    content, lengths = bytearray(), []
    for one in signatures:
        chosen = one.looks[::_EVERY]
        content += chosen.tobytes()
        lengths.append(len(chosen))
    looks = np.frombuffer(content, np.int8).reshape(-1, GRID**2)
    owners = np.repeat(np.arange(len(videos), dtype=np.int32), lengths)
    video_numbers = {video: number for number, video in enumerate(dict.fromkeys(videos))}
    owner_videos = np.array([video_numbers[video] for video in videos], np.int32)
    found = [np.zeros(0, np.int64)]
    hashes = _hashes(looks, 0)
    for number in range(_NUM_TABLES):
        following = _hashes(looks, number + 1)
        # Those that share a hash are sorted by another one, so that the neighbours compared are the nearest.
        order = np.lexsort((following, hashes))
        ordered, clips = hashes[order], owners[order]
        for distance in range(1, _NUM_NEIGHBOURS + 1):
            one, other = clips[:-distance], clips[distance:]
            is_pair = (ordered[:-distance] == ordered[distance:]) & (owner_videos[one] != owner_videos[other])
            one, other = one[is_pair].astype(np.int64), other[is_pair]
            found.append(np.unique(np.minimum(one, other) * len(videos) + np.maximum(one, other)))
        hashes = following
    pairs = np.unique(np.concatenate(found))
    return np.stack(np.divmod(pairs, max(len(videos), 1)), axis=1)


def _hashes(looks: NDArray[np.int8], table: int) -> NDArray[np.uint64]:
    """Return on which side of 40 random hyperplanes each look lies: [N]."""
    planes = np.random.default_rng([_SEED, table]).standard_normal((GRID**2, _NUM_BITS)).astype(np.float32)
    packed = np.zeros((len(looks), 8), np.uint8)
    for start in range(0, len(looks), _PIECE_NUM_LOOKS):
        piece = slice(start, start + _PIECE_NUM_LOOKS)
        sides = looks[piece].astype(np.float32) @ planes > 0
        packed[piece, : _NUM_BITS // 8] = np.packbits(sides, axis=1)
    return packed.view(np.uint64).ravel()
