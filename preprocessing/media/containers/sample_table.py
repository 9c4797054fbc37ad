"""Times and places of all packets of a video in an MP4 or QuickTime file, without reading the packets.

Such a file lists them in its header (ISO/IEC 14496-12, section 8.6). FFmpeg's index has decoding times and
places, edit lists applied, but no presentation times; these are read from the box `ctts`. There is no table
here of a file in fragments, or of one whose edit list removes or repeats packets. N packets in the order of
decoding.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

_FORMATS = {"mov", "mp4"}
_MAX_HEADER_BYTES = 1 << 28


@dataclass(frozen=True)
class SampleTable:
    """What a header says of the packets; times are in ticks of the stream."""

    pts: NDArray[np.int64]
    """Presentation times, up to a constant: [N]."""
    dts: NDArray[np.int64]
    """Decoding times: [N]."""
    sizes: NDArray[np.int64]
    """Lengths in bytes: [N]."""
    places: NDArray[np.int64]
    """Where each begins in the file: [N]."""
    is_key: NDArray[np.bool_]
    is_discarded: NDArray[np.bool_]
    """Decoded, but hidden by the edit list."""


def read_sample_table(path: Path, container: InputContainer, stream: VideoStream) -> SampleTable | None:
    """Return the table; None where the header does not tell the times of all packets.

    Args:
        path: the file.
        container: the same, opened.
        stream: its video.
    """
    if _FORMATS.isdisjoint(container.format.name.split(",")):
        return None
    with path.open("rb") as file:
        header = _header(file)
    boxes = {} if header is None else _boxes_of_track(header, stream.id)
    if "stsz" not in boxes or len(boxes["stsz"]) < 12:
        return None
    facts = [
        (one.timestamp, one.size, one.pos, one.is_keyframe, one.is_discard) for one in stream.index_entries
    ]
    if not facts:
        return None
    dts, sizes, places, is_key, is_discarded = np.array(facts, np.int64).T
    offsets = _offsets(boxes.get("ctts"), len(dts))
    is_whole = int((places + sizes).max()) <= path.stat().st_size and int(sizes.min()) > 0
    if offsets is None or not is_whole or not _lists_sizes(boxes["stsz"], sizes):
        return None
    return SampleTable(dts + offsets, dts, sizes, places, is_key.astype(bool), is_discarded.astype(bool))


def _header(file: BinaryIO) -> memoryview | None:
    """Return the content of the box `moov`; None if there is none, or if there are fragments."""
    found = None
    place, end = 0, file.seek(0, 2)
    while place + 8 <= end:
        file.seek(place)
        start = file.read(16)
        kind, first, size = _box_header(start, end - place)
        if kind == "moof" or size < first or place + size > end:
            return None
        if kind == "moov":
            if found is not None or size > _MAX_HEADER_BYTES:
                return None
            file.seek(place + first)
            found = memoryview(file.read(size - first))
        place += size
    return found


def _box_header(start: bytes | memoryview, available: int) -> tuple[str, int, int]:
    """Return the kind of a box, where its content begins, and its length, of which 0 says: to the end."""
    size, kind = struct.unpack_from(">I4s", start)
    first = 8
    if size == 1 and len(start) >= 16:
        size, first = struct.unpack_from(">Q", start, 8)[0], 16
    return kind.decode("latin-1"), first, size or available


def _boxes(content: memoryview) -> Iterator[tuple[str, memoryview]]:
    place = 0
    while place + 8 <= len(content):
        kind, first, size = _box_header(content[place : place + 16], len(content) - place)
        if size < first or place + size > len(content):
            return
        yield kind, content[place + first : place + size]
        place += size


def _boxes_of_track(header: memoryview, track_id: int) -> dict[str, memoryview]:
    """Return the boxes that list a track's packets; none if there may be others, or several edits."""
    if any(kind == "mvex" for kind, _ in _boxes(header)):
        return {}
    for kind, track in _boxes(header):
        parts = dict(_boxes(track)) if kind == "trak" else {}
        if "tkhd" not in parts or "mdia" not in parts or _track_id(parts["tkhd"]) != track_id:
            continue
        if _has_several_edits(parts):
            return {}
        found = parts["mdia"]
        for name in ("minf", "stbl"):
            found = dict(_boxes(found)).get(name, memoryview(b""))
        return dict(_boxes(found))
    return {}


def _track_id(box: memoryview) -> int | None:
    # Version 1 has times of 8 bytes before it.
    place = 20 if box[:1] == b"\x01" else 12
    return struct.unpack_from(">I", box, place)[0] if len(box) >= place + 4 else None


def _lists_sizes(box: memoryview, sizes: NDArray[np.int64]) -> bool:
    _, same, number = struct.unpack_from(">III", box)
    if number != len(sizes):
        return False
    if same:
        return bool((sizes == same).all())
    return np.array_equal(np.frombuffer(box[12:], ">u4", min(number, (len(box) - 12) // 4)), sizes)


def _has_several_edits(track: dict[str, memoryview]) -> bool:
    box = dict(_boxes(track.get("edts", memoryview(b"")))).get("elst", memoryview(b""))
    # In version 1 a duration and a time take 8 bytes each; a time of -1 is an empty edit.
    layout = ">Qqi" if box[:1] == b"\x01" else ">Iii"
    edits = box[8 : 8 + (len(box) - 8) // struct.calcsize(layout) * struct.calcsize(layout)]
    return sum(time != -1 for _, time, _ in struct.iter_unpack(layout, edits)) > 1


def _offsets(box: memoryview | None, num_packets: int) -> NDArray[np.int64] | None:
    """Return presentation minus decoding times, up to a constant; None if some packets are not listed."""
    if box is None:
        return np.zeros(num_packets, np.int64)
    number = struct.unpack_from(">I", box, 4)[0] if len(box) >= 8 else 0
    runs = np.frombuffer(box[8:], ">i4", 2 * min(number, (len(box) - 8) // 8) if len(box) >= 8 else 0)
    lengths, offsets = runs.reshape(-1, 2).astype(np.int64).T
    if lengths.min(initial=1) <= 0 or lengths.sum() != num_packets:
        return None
    return np.repeat(offsets, lengths)
