"""Index of a video's pictures: when each is shown, and where decoding may begin.

It is made from the header of an MP4 or QuickTime file, which lists them, or else from all packets. P packets
with content in the order of the file, N pictures in the order of display. The index has to agree with what a
decoder shows, which `part_decoding` checks picture by picture. Where packets do not tell (times are missing
or set back, data is damaged, a decoder may drop pictures), there is no index.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from preprocessing.media.containers.completeness import Completeness
from preprocessing.media.containers.packets import (
    counted_packets,
    display_times,
    open_input,
    video_stream,
)
from preprocessing.media.containers.sample_table import SampleTable, read_sample_table
from preprocessing.media.parts.entry_points import Kind, entry_kind, has_entry_points
from preprocessing.media.timeline import NUM_SAMPLED, usual_fps
from preprocessing.media.video_reader import decoded_frames

NUM_HEAD = 16
"""Pictures that are decoded from the beginning, to check that they are those that the packets announce; in
H.264 and H.265, no picture waits for more."""
MAX_REORDERED = 32
"""Most packets that a picture may come late; H.264 allows 16."""


_NUM_BEFORE_INTERLACED = 2

KindOf = Callable[[int], Kind | None]
"""Tells which entry point a packet with a number is."""


class NoIndexError(Exception):
    """The packets of a file do not tell exactly what decoding it from the beginning shows."""


class _Head(NamedTuple):
    num_skipped: int
    sizes: list[tuple[int, int]]
    is_interlaced: bool


@dataclass(frozen=True)
class _Packets:
    """All packets; the fields are those of `PictureIndex`."""

    pts: NDArray[np.int64]
    seek_times: NDArray[np.int64]
    sizes: NDArray[np.int64]
    is_discarded: NDArray[np.bool_]
    keys: NDArray[np.int64]
    """Numbers of the key frames."""
    kind_of: KindOf


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
    keys: NDArray[np.int64]
    """Numbers of the key frames that are shown after all packets before them, ascending: [K]."""
    kind_of: KindOf
    """Tells which of them are entry points."""
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
        if picture <= 0:
            return None
        num_before = int(np.searchsorted(self.pts[self.keys], self.shown[picture], side="right"))
        entries = ((int(one), self.kind_of(int(one))) for one in self.keys[:num_before][::-1])
        follows_open = False
        for packet, kind in entries:
            if kind == "closed" or (kind and follows_open):
                return packet or None
            follows_open |= kind is not None
        return None


@dataclass
class _Listing:
    """Packets as they are read."""

    codec: str
    extradata: bytes | None
    time_base: Fraction
    sampled: list[Packet] = field(default_factory=list)
    """The first ones, with those that are empty."""
    rows: list[tuple[int, int | None, int, bool]] = field(default_factory=list)
    """Presentation and decoding time, size, and whether it is hidden, of each packet with content."""
    kinds: dict[int, Kind | None] = field(default_factory=dict)
    """Of the key frames, by number."""

    def note(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """Take note of packets that are passed on.

        Raises:
            NoIndexError: one does not tell what it shows.
        """
        for packet in packets:
            if len(self.sampled) < NUM_SAMPLED:
                self.sampled.append(packet)
            if packet.size:
                pts, dts = packet.pts, packet.dts
                if pts is None or packet.is_corrupt or packet.time_base != self.time_base:
                    raise NoIndexError("a packet has no time, or is damaged")
                if packet.is_keyframe:
                    self.kinds[len(self.rows)] = entry_kind(self.codec, bytes(packet), self.extradata)
                self.rows.append((pts, dts, packet.size, packet.is_discard))
            yield packet

    def packets(self) -> _Packets:
        """Return what was read."""
        rows = [(pts, pts if dts is None else dts, size, hidden) for pts, dts, size, hidden in self.rows]
        pts, times, sizes, is_discarded = np.array(rows, np.int64).T
        known = np.array([dts for _, dts, _, _ in self.rows if dts is not None], np.int64)
        if (np.diff(known) < 0).any():
            raise NoIndexError("the clock is set back")
        keys = np.array(list(self.kinds), np.int64)
        return _Packets(pts, times, sizes, is_discarded.astype(bool), keys, self.kinds.__getitem__)


def read_index(path: Path) -> PictureIndex:
    """List the packets of a video, and decode its first pictures.

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
        reorder_depth, time_base = context.reorder_depth, stream.time_base
        assert time_base is not None
        listing = _Listing(codec, context.extradata, time_base)
        noted = listing.note(counted_packets(container, stream, completeness))
        first = list(islice(decoded_frames(noted, path, completeness, is_strict=True), NUM_HEAD))
        deque(islice(noted, max(0, NUM_SAMPLED - len(listing.sampled))), maxlen=0)
        packets = _listed_by_header(path, container, stream, listing)
        if packets is None:
            deque(noted, maxlen=0)
        if completeness.num_errors or not listing.rows:
            raise NoIndexError("packets cannot be read to the end")
        packets = packets or listing.packets()
        usual = 1 / usual_fps(stream.average_rate or stream.guessed_rate, display_times(listing.sampled))
    if codec == "h264" and _reordering(packets.pts) > reorder_depth:
        raise NoIndexError("the decoder learns the order of the pictures only on its way, and may drop some")
    shown = np.sort(packets.pts[~packets.is_discarded])
    head = _check_head(first, shown, time_base)
    return PictureIndex(
        time_base=time_base,
        usual=usual,
        pts=packets.pts,
        seek_times=packets.seek_times,
        sizes=packets.sizes,
        shown=shown[head.num_skipped :],
        keys=_clean_keys(packets.pts, packets.keys),
        kind_of=packets.kind_of,
        head_sizes=head.sizes,
        is_interlaced=head.is_interlaced,
    )


def _listed_by_header(
    path: Path, container: InputContainer, stream: VideoStream, listing: _Listing
) -> _Packets | None:
    """Return the packets that a header lists; None if it does not, or lists others first than were read."""
    table = read_sample_table(path, container, stream)
    rows = listing.rows
    if table is None or not 0 < len(rows) <= len(table.pts) or (np.diff(table.dts) < 0).any():
        return None
    pts = table.pts + rows[0][0] - table.pts[0]
    listed = zip(pts, table.dts, table.sizes, table.is_discarded, strict=True)
    if rows != list(islice(listed, len(rows))):
        return None
    kind_of = partial(_kind_in_file, path, table, listing.codec, listing.extradata)
    return _Packets(pts, table.dts, table.sizes, table.is_discarded, np.flatnonzero(table.is_key), kind_of)


def _kind_in_file(
    path: Path, table: SampleTable, codec: str, extradata: bytes | None, number: int
) -> Kind | None:
    with path.open("rb") as file:
        file.seek(int(table.places[number]))
        return entry_kind(codec, file.read(int(table.sizes[number])), extradata)


def _reordering(pts: NDArray[np.int64]) -> int:
    """Return the largest number of packets that come before another one, and are shown after it."""
    num_later = np.zeros(len(pts), np.int64)
    for distance in range(1, min(MAX_REORDERED, len(pts) - 1) + 1):
        num_later[distance:] += pts[:-distance] > pts[distance:]
    return int(num_later.max(initial=0))


def _clean_keys(pts: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the key frames that are shown after all packets before them."""
    latest = np.maximum.accumulate(pts)
    return keys[(keys == 0) | (latest[keys - 1] < pts[keys])]


def _check_head(first: list[VideoFrame], shown: NDArray[np.int64], time_base: Fraction) -> _Head:
    """Compare the first pictures with the index, and count those announced before them that are not shown.

    A recording that begins between key frames has pictures that cannot be decoded.
    """
    if not first or first[0].pts is None:
        raise NoIndexError("the first picture has no time")
    num_skipped = int(np.searchsorted(shown, first[0].pts))
    announced = shown[num_skipped : num_skipped + len(first)].tolist()
    if [one.pts for one in first] != announced or any(one.time_base != time_base for one in first):
        raise NoIndexError("the decoder shows other pictures first than the packets announce")
    return _Head(
        num_skipped, [(one.width, one.height) for one in first], any(one.interlaced_frame for one in first)
    )
