"""Entry points: packets from which a decoder makes the same pictures as from the beginning of the file. Pure.

A container's key frame flag is not enough: some files flag pictures that refer to earlier ones, and a gradual
refresh counts as a key frame too. So the headers of H.264 and H.265 packets are read (ITU-T H.264 and H.265,
sections 7.3 and 7.4). Codecs whose packets do not all show exactly one picture have no entry points here: VP8
and MPEG-4 part 2.
"""

from typing import Literal

Kind = Literal["closed", "open"]
"""No picture shown after an entry point refers to one shown before it. After an `open` one, a decoder may
still number references otherwise than from the beginning; it has to begin at the entry point before."""

_KEY_FRAMES_RESET = ("vp9", "av1", "mpeg2video", "png")
"""Codecs whose key frames, as flagged by demultiplexers, are entry points; of MPEG-2, open ones."""
_H264_SLICE, _H264_IDR, _H264_SEI = 1, 5, 6
_HEVC_ENTRIES = range(16, 22)
"""Types BLA, IDR and CRA."""
_HEVC_VCL = range(32)
_RECOVERY_POINT = 6


def has_entry_points(codec: str, is_intra_only: bool) -> bool:
    """Return whether pictures of a codec, by FFmpeg's name, can be decoded from the middle of a file."""
    return is_intra_only or codec in ("h264", "hevc", *_KEY_FRAMES_RESET)


def entry_kind(codec: str, packet: bytes, extradata: bytes | None) -> Kind | None:
    """Return which entry point a packet is that is flagged as a key frame; None if it is none.

    Args:
        codec: FFmpeg's name of a codec that has entry points.
        packet: one picture.
        extradata: the stream's header; of H.264 and H.265, it tells how packets are divided.
    """
    if codec == "h264":
        return _h264_kind(_units(packet, _length_bytes(extradata, 4)))
    if codec == "hevc":
        units = _units(packet, _length_bytes(extradata, 21))
        types = [unit[0] >> 1 & 63 for unit in units if unit]
        pictures = [kind for kind in types if kind in _HEVC_VCL]
        return "closed" if pictures and all(kind in _HEVC_ENTRIES for kind in pictures) else None
    return "open" if codec == "mpeg2video" else "closed"


def _h264_kind(units: list[bytes]) -> Kind | None:
    types = [unit[0] & 31 for unit in units if unit]
    if _H264_IDR in types:
        return None if _H264_SLICE in types else "closed"
    messages = (unit[1:] for unit in units if unit and unit[0] & 31 == _H264_SEI)
    return "open" if any(map(_recovers_at_once, messages)) else None


def _recovers_at_once(messages: bytes) -> bool:
    """Return whether SEI messages say that all pictures from here on are decoded exactly."""
    place = 0
    while place + 2 <= len(messages):
        kind, place = _sum_of_bytes(messages, place)
        size, place = _sum_of_bytes(messages, place)
        if kind == _RECOVERY_POINT and place < len(messages):
            # A recovery_frame_cnt of 0 is coded as the bit 1, and exact_match_flag follows it.
            return messages[place] >> 6 == 0b11
        place += size
    return False


def _sum_of_bytes(data: bytes, place: int) -> tuple[int, int]:
    """Return a number coded as bytes of 255 and a last smaller one, and the place after it."""
    total = 0
    while place < len(data) and data[place] == 255:
        total, place = total + 255, place + 1
    return total + (data[place] if place < len(data) else 0), place + 1


def _length_bytes(extradata: bytes | None, place: int) -> int | None:
    """Return the size of the length before each unit, from an avcC or hvcC header; None for start codes."""
    if not extradata or extradata[0] != 1 or len(extradata) <= place:
        return None
    return (extradata[place] & 3) + 1


def _units(packet: bytes, length_bytes: int | None) -> list[bytes]:
    """Return the NAL units of a packet, each at least with its header."""
    if length_bytes is None:
        # A start code may have one more zero in front, which then ends the unit before it.
        return packet.split(b"\x00\x00\x01")[1:]
    units, place = [], 0
    while place + length_bytes < len(packet):
        size = int.from_bytes(packet[place : place + length_bytes], "big")
        place += length_bytes
        units.append(packet[place : place + size])
        place += size
    return units
