"""Counts what a video file lacks: promised pictures, data that can be decoded, undamaged pictures."""

from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

TOLERATED_SHORTAGE_S = 1.0
"""How much earlier than its header says a file may end, where the header does not count pictures."""
_EXACT_FORMATS = ("mov", "mp4")
"""Formats whose headers count their pictures exactly."""
_TOLERATED_SHARE = Fraction(1, 100)


class Completeness:
    """What was read of a video stream, against what its file promises.

    Args:
        container: the file, just opened.
        stream: its video.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._stream = stream
        is_exact = any(name in container.format.name.split(",") for name in _EXACT_FORMATS)
        self.may_begin_anywhere = not is_exact
        """Whether the file may be a cut of a longer recording, which need not start at a key frame."""
        self._num_promised = stream.frames
        self._num_tolerated = 0 if is_exact else 1 + int(stream.frames * _TOLERATED_SHARE)
        self._promised_end_s = _tagged_duration_s(stream)
        self._container_end_s = ((container.start_time or 0) + (container.duration or 0)) / av.time_base
        # The duration of a transport stream is an estimate.
        self._has_duration = bool(container.duration) and "mpegts" not in container.format.name
        self._num_packets = 0
        self._ends_s: dict[int, float] = {}
        self.num_errors = 0
        """Packets that the decoder rejected."""
        self.num_corrupt = 0
        """Pictures that the decoder marked as damaged."""

    def count(self, packet: Packet) -> None:
        """Take note of a packet of any stream."""
        if packet.pts is not None and packet.time_base:
            end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self._ends_s[packet.stream.index] = max(end_s, self._ends_s.get(packet.stream.index, end_s))
        if packet.stream.index == self._stream.index and packet.size:
            self._num_packets += 1

    def problems(self, saw_all_streams: bool = False) -> list[str]:
        """Return what is wrong, in words; none if the file is whole.

        Args:
            saw_all_streams: whether packets of all streams were counted, not of the video alone.
        """
        found = []
        missing = self._num_promised - self._num_packets
        if missing > self._num_tolerated:
            found.append(f"{missing} of {self._num_promised} pictures missing")
        elif (short_s := self._shortage_s(saw_all_streams)) > TOLERATED_SHORTAGE_S:
            found.append(f"it ends {short_s:.1f} s earlier than its header says")
        if self.num_errors:
            found.append(f"undecodable parts: {self.num_errors}")
        if self.num_corrupt:
            found.append(f"damaged pictures: {self.num_corrupt}")
        return found

    def _shortage_s(self, saw_all_streams: bool) -> float:
        own_end_s = self._ends_s.get(self._stream.index, 0.0)
        if self._num_promised:
            return 0.0
        if self._promised_end_s is not None:
            return self._promised_end_s - own_end_s
        if saw_all_streams and self._has_duration:
            # The sound may be longer than the picture, so that only the longest stream tells.
            return self._container_end_s - max(self._ends_s.values(), default=0.0)
        return 0.0


def _tagged_duration_s(stream: VideoStream) -> float | None:
    """Return the end of the stream as Matroska files tag it, such as 00:00:04.004000000; None without it."""
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds
