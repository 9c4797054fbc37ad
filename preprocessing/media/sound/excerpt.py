"""Sound of a stretch of a video, 16 kHz mono, in step with its pictures.

Times are those of the pictures, in seconds from the first one: sample n is heard n / 16000 s after the
beginning of the stretch, whatever rates and beginnings the file's streams have. Where the sound has a hole,
begins late or ends early, there is silence. N samples.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.packet import Packet
from numpy.typing import NDArray

from preprocessing.media.animated_pictures import is_animated_picture
from preprocessing.media.containers.packets import open_input, read_packets
from preprocessing.media.containers.streams import heard_stream
from preprocessing.media.video_reader import first_picture_time

RATE_HZ = 16_000
_NEAR = Fraction(10)
"""Stretches that begin earlier are read from the file's beginning, in seconds."""
_PREROLL = Fraction(1)
"""Seconds decoded before a stretch: the first packets after a seek lack what they overlap with."""
_JITTER = Fraction(1, 100)
"""How far a frame may be off the end of the one before it, in seconds, and still follow it."""
_STEADY_FORMATS = frozenset(("mov", "mp4", "matroska", "webm"))
"""Containers whose clock is never set back."""


@dataclass(frozen=True)
class Excerpt:
    """Sound of one stretch."""

    samples: NDArray[np.int16]
    """[N]."""
    num_filled: int
    """Samples that the source lacks; they are silence."""


class SoundReader:
    """The first sound of a video that can be decoded.

    Args:
        path: any video file.
    """

    def __init__(self, path: Path) -> None:
        """Read when the first picture is shown.

        Raises:
            UnreadableVideoError: no picture can be decoded.
        """
        self._path = path
        self.has_sound = _has_steady_sound(path)
        self._origin = first_picture_time(path) if self.has_sound else Fraction(0)

    def read(self, start_s: float, end_s: float) -> Excerpt | None:
        """Return the sound between two times; None if there is none, or the clock of the file is set back."""
        if not self.has_sound:
            return None
        start, end = Fraction(start_s), Fraction(end_s)
        samples = np.zeros(round((end - start) * RATE_HZ), np.int16)
        is_known = np.zeros(len(samples), bool)
        for time, run in _runs(self._frames(start, end)):
            place = round((time - start) * RATE_HZ)
            first, last = max(place, 0), min(place + len(run), len(samples))
            if first < last:
                samples[first:last] = run[first - place : last - place]
                is_known[first:last] = True
        if not is_known.any():
            return None
        return Excerpt(samples, int(np.count_nonzero(~is_known)))

    def _frames(self, start: Fraction, end: Fraction) -> Iterator[tuple[Fraction, AudioFrame]]:
        """Yield the decoded frames around a stretch with their times."""
        begin = start - _PREROLL / 2
        frames = iter(()) if start < _NEAR else self._decode(start - _PREROLL, end)
        first = next(frames, None)
        if first is None or first[0] > begin:
            # Without a seek, or where it went too far, or the sound begins here.
            frames = self._decode(None, end)
            first = next(frames, None)
        for time, frame in chain([] if first is None else [first], frames):
            if time + Fraction(frame.samples, frame.sample_rate) >= begin:
                yield time, frame

    def _decode(self, seek_to: Fraction | None, end: Fraction) -> Iterator[tuple[Fraction, AudioFrame]]:
        with open_input(self._path) as container:
            stream = heard_stream(container)
            assert stream is not None
            assert stream.time_base is not None
            if seek_to is not None:
                with suppress(FFmpegError):
                    container.seek(int((self._origin + seek_to) / stream.time_base), stream=stream)
            for packet in _readable(container.demux(stream)):
                for frame in _decoded(packet):
                    if frame.pts is None or frame.time_base is None:
                        continue
                    time = frame.pts * frame.time_base - self._origin
                    if time >= end + _PREROLL / 2:
                        return
                    yield time, frame


def encode_flac(samples: NDArray[np.int16]) -> bytes:
    """Return a FLAC file of 16 kHz mono, 16 bits a sample; equal samples give equal bytes."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac", options={"fflags": "bitexact"}) as container:
        stream = container.add_stream("flac", rate=RATE_HZ, layout="mono")
        stream.codec_context.format = "s16"
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _runs(frames: Iterator[tuple[Fraction, AudioFrame]]) -> Iterator[tuple[Fraction, NDArray[np.int16]]]:
    """Yield stretches of sound without a hole, resampled, with the time of their first sample."""
    waiting: list[AudioFrame] = []
    begin = follows = Fraction(0)
    for time, frame in frames:
        if waiting and (abs(time - follows) > _JITTER or _kind(frame) != _kind(waiting[-1])):
            yield begin, _resampled(waiting)
            waiting = []
        if not waiting:
            begin = follows = time
        waiting.append(frame)
        follows += Fraction(frame.samples, frame.sample_rate)
    if waiting:
        yield begin, _resampled(waiting)


def _resampled(frames: list[AudioFrame]) -> NDArray[np.int16]:
    resampler = AudioResampler("s16", "mono", RATE_HZ)
    num_before = 0
    found = []
    for frame in [*frames, None]:
        if frame is not None:
            # Times that jitter would be mended by adding and dropping samples.
            frame.time_base, frame.pts = Fraction(1, frame.sample_rate), num_before
            num_before += frame.samples
        found += [one.to_ndarray()[0] for one in resampler.resample(frame) if one is not None]
    return np.concatenate(found) if found else np.zeros(0, np.int16)


def _decoded(packet: Packet) -> Sequence[AudioFrame]:
    """Return a packet's frames; none of one that cannot be decoded."""
    try:
        return [frame for frame in packet.decode() if isinstance(frame, AudioFrame)]
    except FFmpegError:
        return []


def _kind(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _readable(packets: Iterator[Packet]) -> Iterator[Packet]:
    """Yield the packets up to the first unreadable one."""
    while True:
        try:
            yield next(packets)
        except (StopIteration, FFmpegError):
            return


def _has_steady_sound(path: Path) -> bool:
    """Return whether a file has sound, and pictures whose clock is never set back."""
    if is_animated_picture(path):
        return False
    with open_input(path) as container:
        if heard_stream(container) is None:
            return False
        if _STEADY_FORMATS & set(container.format.name.split(",")):
            return True
    decoded_at = (packet.dts for packet in read_packets(path) if packet.dts is not None)
    return all(before <= after for before, after in pairwise(decoded_at))
