"""Index of a video's pictures, from its packets: when each is shown, and where decoding may begin.

P packets with content in the order of the file, N pictures in the order of display. The index has to agree
with what a decoder shows, which `part_decoding` checks picture by picture. Where packets do not tell (times
are missing or set back, data is damaged, a decoder may drop pictures), there is no index.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.media.containers.completeness import Completeness
from preprocessing.media.containers.packets import (
    counted_packets,
    open_input,
    sample_times,
    video_stream,
)
from preprocessing.media.parts.entry_points import entry_kind, has_entry_points
from preprocessing.media.timeline import usual_fps
from preprocessing.media.video_reader import decoded_frames

NUM_HEAD = 32
"""Pictures that are decoded from the beginning, to check that they are those that the packets announce."""
MAX_REORDERED = 32
"""Most packets that a picture may come late; H.264 allows 16."""


_NUM_BEFORE_INTERLACED = 2


class NoIndexError(Exception):
    """The packets of a file do not tell exactly what decoding it from the beginning shows."""


class _Row(NamedTuple):
    pts: int
    dts: int | None
    size: int
    is_discarded: bool


class _Head(NamedTuple):
    num_skipped: int
    sizes: list[tuple[int, int]]
    is_interlaced: bool


@dataclass(frozen=True)
class PictureIndex:
    """What the packets of a video say."""

    time_base: Fraction
    """Seconds of one tick."""
    usual: Fraction
    """Usual duration of a picture, in seconds."""
    pts: NDArray[np.int64]
    """Presentation time of each packet, in ticks: [P]."""
    seek_times: NDArray[np.int64]
    """Decoding time of each packet, in ticks, or its presentation time if that is not known: [P]."""
    sizes: NDArray[np.int64]
    """Length of each packet, in bytes: [P]."""
    shown: NDArray[np.int64]
    """Presentation time of each picture that a decoder shows, in ticks: [N]."""
    entries: list[tuple[int, bool]]
    """Packet number of each entry point, and whether it is an open one, ascending."""
    head_sizes: list[tuple[int, int]]
    """Width and height of the first pictures, as stored."""
    is_interlaced: bool
    """Whether one of the first pictures is interlaced. Deinterlacing a picture takes the one before it."""

    def entry_before(self, picture: int) -> int | None:
        """Return the number of the packet from which decoding shows a picture and all after it; None for 0.

        Args:
            picture: its place in the order of display.
        """
        picture -= _NUM_BEFORE_INTERLACED if self.is_interlaced else 0
        if not self.entries or picture <= 0:
            return None
        times = self.pts[[packet for packet, _ in self.entries]]
        place = int(np.searchsorted(times, self.shown[picture], side="right")) - 1
        if place >= 0 and self.entries[place][1]:
            place -= 1
        return self.entries[place][0] if place >= 0 and self.entries[place][0] > 0 else None


def read_index(path: Path) -> PictureIndex:
    """Read all packets of a video, and decode its first pictures.

    Raises:
        NoIndexError: the packets do not tell what decoding shows.
        UnreadableVideoError: it does not exist or is no video.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        context = stream.codec_context
        codec = context.codec.canonical_name
        if not has_entry_points(codec, context.codec.intra_only):
            raise NoIndexError(f"pictures of {codec} have no entry points")
        completeness = Completeness(container, stream)
        extradata, reorder_depth, time_base = context.extradata, context.reorder_depth, stream.time_base
        assert time_base is not None
        rows: list[_Row] = []
        kinds: dict[int, str] = {}
        for packet in counted_packets(container, stream, completeness):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_corrupt or packet.time_base != time_base:
                raise NoIndexError("a packet has no time, or is damaged")
            if packet.is_keyframe and (kind := entry_kind(codec, bytes(packet), extradata)):
                kinds[len(rows)] = kind
            rows.append(_Row(packet.pts, packet.dts, packet.size, packet.is_discard))
        if completeness.num_errors or not rows:
            raise NoIndexError("packets cannot be read to the end")
        usual = 1 / usual_fps(stream.average_rate or stream.guessed_rate, sample_times(path))
    pts = np.array([row.pts for row in rows], np.int64)
    if any(after < before for before, after in pairwise(row.dts for row in rows if row.dts is not None)):
        raise NoIndexError("the clock is set back")
    if codec == "h264" and _reordering(pts) > reorder_depth:
        raise NoIndexError("the decoder learns the order of the pictures only on its way, and may drop some")
    shown = np.sort(pts[[not row.is_discarded for row in rows]])
    head = _decode_head(path, shown, time_base)
    return PictureIndex(
        time_base=time_base,
        usual=usual,
        pts=pts,
        seek_times=np.array([row.pts if row.dts is None else row.dts for row in rows], np.int64),
        sizes=np.array([row.size for row in rows], np.int64),
        shown=shown[head.num_skipped :],
        entries=_clean_entries(pts, kinds),
        head_sizes=head.sizes,
        is_interlaced=head.is_interlaced,
    )


def _reordering(pts: NDArray[np.int64]) -> int:
    """Return the largest number of packets that come before another one, and are shown after it."""
    num_later = np.zeros(len(pts), np.int64)
    for distance in range(1, min(MAX_REORDERED, len(pts) - 1) + 1):
        num_later[distance:] += pts[:-distance] > pts[distance:]
    return int(num_later.max(initial=0))


def _clean_entries(pts: NDArray[np.int64], kinds: dict[int, str]) -> list[tuple[int, bool]]:
    """Return the entry points that are shown after all packets before them, and before those after them."""
    latest = np.maximum.accumulate(pts)
    return [
        (packet, kind == "open")
        for packet, kind in kinds.items()
        if packet == 0 or latest[packet - 1] < pts[packet]
    ]


def _decode_head(path: Path, shown: NDArray[np.int64], time_base: Fraction) -> _Head:
    """Decode the first pictures, and count those announced before them that are not shown.

    A recording that begins between key frames has pictures that cannot be decoded.
    """
    sizes: list[tuple[int, int]] = []
    num_skipped, is_interlaced = 0, False
    with open_input(path) as container:
        stream = video_stream(container, path)
        completeness = Completeness(container, stream)
        for frame in islice(decoded_frames(container, stream, path, completeness, is_strict=True), NUM_HEAD):
            if not sizes and frame.pts is not None:
                num_skipped = int(np.searchsorted(shown, frame.pts))
            place = num_skipped + len(sizes)
            if place >= len(shown) or frame.pts != shown[place] or frame.time_base != time_base:
                raise NoIndexError("the decoder shows other pictures first than the packets announce")
            sizes.append((frame.width, frame.height))
            is_interlaced |= frame.interlaced_frame
    return _Head(num_skipped, sizes, is_interlaced)
