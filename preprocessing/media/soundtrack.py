"""Copies the sound of one file into another, step by step as the video advances."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from preprocessing.media.video_reader import open_input

COPIED_CODECS = ("aac", "mp3", "ac3", "opus")
"""What mp4 can hold; other sound is encoded to AAC."""


class Soundtrack:
    """The first audio track of a file, muxed into an output up to the time that its video has reached.

    Times count from the start of the source's own video. A source without sound adds nothing.

    Args:
        source: any media file; opened until `close`.
        output: gets an audio stream where the source has sound.
    """

    def __init__(self, source: Path, output: OutputContainer) -> None:
        self._input = open_input(source)
        self._output = output
        self._packets: Iterator[av.Packet] = iter(())
        self._stream: AudioStream | None = None
        if not self._input.streams.audio:
            return
        track = self._input.streams.audio[0]
        video = self._input.streams.video[0] if self._input.streams.video else None
        self._offset = _start(video) if video is not None else Fraction(0)
        self._is_copied = track.codec_context.codec.canonical_name in COPIED_CODECS
        if self._is_copied:
            self._stream = output.add_stream_from_template(track)
        else:
            self._stream = output.add_stream("aac", rate=track.codec_context.sample_rate)
        self._packets = self._input.demux(track)
        self._pending: av.Packet | None = None

    def write_until(self, end: Fraction) -> None:
        """Mux the packets that start before `end`, in seconds."""
        while self._stream is not None:
            packet = self._pending or next(self._packets, None)
            self._pending = None
            if packet is None or packet.pts is None:
                return
            start = packet.pts * packet.time_base - self._offset
            if start >= end:
                self._pending = packet
                return
            if start >= 0:
                self._mux(packet)

    def _mux(self, packet: av.Packet) -> None:
        assert self._stream is not None
        shift = round(self._offset / packet.time_base)
        if self._is_copied:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = packet.pts
            packet.stream = self._stream
            self._output.mux(packet)
            return
        for frame in packet.decode():
            frame.pts = None if frame.pts is None else frame.pts - shift
            self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Flush the encoder, if the sound is encoded."""
        if self._stream is not None and not self._is_copied:
            self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        """Close the source."""
        self._input.close()


def _start(stream: VideoStream) -> Fraction:
    return (stream.start_time or 0) * (stream.time_base or Fraction(0))
