"""Copies the sound of one file into another, step by step as the video advances."""

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet

from preprocessing.media.containers.packets import open_input
from preprocessing.media.containers.streams import has_only_undecodable_sound, heard_stream, watched_stream
from preprocessing.media.timeline import Segment, time_without_holes

logger = logging.getLogger(__name__)

COPIED_CODECS = ("aac", "ac3", "opus")
"""What mp4 holds at any rate and layout; other sound is encoded to AAC."""
AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
OTHER_RATE_HZ, OTHER_LAYOUT = 48000, "stereo"
"""What sound of another rate or layout is resampled to."""


class Soundtrack:
    """The first decodable sound of a file, muxed into an output up to the time that its video has reached.

    Times count from the first picture of the source's own video. Holes of the video are cut out of the sound,
    so that both stay in step. A source without sound adds nothing.

    Args:
        source: any media file; opened until `close`.
        output: gets an audio stream where the source has sound.
        segments: stretches of the source's video that follow each other in the output; none without holes.
    """

    def __init__(self, source: Path, output: OutputContainer, segments: Sequence[Segment] = ()) -> None:
        self._input = open_input(source)
        self._output = output
        self._name = source.name
        self._segments = segments
        self._packets: Iterator[Packet] = iter(())
        self._stream: AudioStream | None = None
        self._resampler: AudioResampler | None = None
        self._pending: tuple[Packet, Fraction] | None = None
        self._num_undecodable = 0
        track = heard_stream(self._input)
        if track is None:
            if has_only_undecodable_sound(self._input):
                logger.warning(
                    "%s: its sound is in a codec that FFmpeg does not know; it is left out", self._name
                )
            return
        self._origin = _first_picture_time(self._input)
        context = track.codec_context
        if context.codec.canonical_name in COPIED_CODECS and len(segments) <= 1:
            self._stream = output.add_stream_from_template(track)
        else:
            rate = context.sample_rate if context.sample_rate in AAC_RATES_HZ else OTHER_RATE_HZ
            layout = context.layout.name if context.layout.name in AAC_LAYOUTS else OTHER_LAYOUT
            self._stream = output.add_stream("aac", rate=rate, layout=layout)
            self._resampler = AudioResampler("fltp", layout, rate)
        self._packets = self._input.demux(track)

    def write_until(self, end: Fraction) -> None:
        """Mux the packets that start before `end`, in seconds of the output."""
        while self._stream is not None:
            packet, start = self._pending or self._next()
            self._pending = None
            if packet is None:
                return
            if start >= end:
                self._pending = packet, start
                return
            self._mux(packet, start)

    def finish(self) -> None:
        """Flush the encoder, if the sound is encoded."""
        if self._stream is not None and self._resampler is not None:
            self._encode(self._resampler.resample(None))
            self._output.mux(self._stream.encode(None))
        if self._num_undecodable:
            logger.warning(
                "%s: undecodable parts of its sound are left out: %d", self._name, self._num_undecodable
            )

    def close(self) -> None:
        """Close the source."""
        self._input.close()

    def _next(self) -> tuple[Packet | None, Fraction]:
        """Return the next packet that is heard and when, in seconds of the output; None at the end."""
        while True:
            try:
                packet = next(self._packets, None)
            except FFmpegError:
                # A truncated file: the reader of the video reports it.
                return None, Fraction(0)
            if packet is None or (packet.pts is None and not packet.size):
                return None, Fraction(0)
            if packet.pts is None or not packet.time_base:
                continue
            start = self._place(packet.pts * packet.time_base)
            if start is not None:
                return packet, start

    def _place(self, time: Fraction) -> Fraction | None:
        """Return when sound of the source's own time is heard in the output; None if it is not."""
        start = time - self._origin
        return None if start < 0 else time_without_holes(start, self._segments)

    def _mux(self, packet: Packet, start: Fraction) -> None:
        assert self._stream is not None
        if self._resampler is None:
            packet.pts = round(start / packet.time_base)
            packet.dts = packet.pts
            packet.stream = self._stream
            self._output.mux(packet)
            return
        try:
            frames = packet.decode()
        except FFmpegError:
            self._num_undecodable += 1
            return
        for frame in frames:
            frame.pts = None if frame.pts is None else round(start / frame.time_base)
            start += Fraction(frame.samples, frame.sample_rate)
            self._encode(self._resampler.resample(frame))

    def _encode(self, frames: Sequence[AudioFrame]) -> None:
        assert self._stream is not None
        for frame in frames:
            self._output.mux(self._stream.encode(frame))


def _first_picture_time(container: InputContainer) -> Fraction:
    video = watched_stream(container)
    if video is None or video.start_time is None or video.time_base is None:
        return Fraction(0)
    return video.start_time * video.time_base
