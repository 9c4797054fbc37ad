"""Media files as containers of packets: opening them, choosing the video, reading packets and their times.

Nothing is decoded here; `video_reader` decodes.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from preprocessing.media.codecs.video_hardware import NoVideoHardwareError, gpu_decoder
from preprocessing.media.containers.completeness import Completeness
from preprocessing.media.containers.streams import watched_stream
from preprocessing.media.images import MAX_PIXELS
from preprocessing.media.timeline import NUM_SAMPLED, in_order_of_display


class UnreadableVideoError(ValueError):
    """The file holds no video that can be decoded."""


def open_input(path: Path, hardware: bool = False) -> InputContainer:
    """Open a media file for reading.

    Raises:
        UnreadableVideoError: it does not exist or is no media file.
        NoVideoHardwareError: `hardware`, and no GPU here decodes video.
    """
    accelerator = gpu_decoder() if hardware else None
    try:
        return av.open(f"file:{path}", hwaccel=accelerator, metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        reason = "there is no such file" if not path.is_file() else "it is not a video"
        raise unreadable(path, reason) from error
    except RuntimeError as error:
        # So PyAV refuses a file of which the GPU decodes no stream.
        raise NoVideoHardwareError("decoding", error) from error


def unreadable(path: Path, reason: str) -> UnreadableVideoError:
    """Return the error that names the file and says what is wrong with it."""
    return UnreadableVideoError(
        f"got {path}, but {reason}; a video that can be decoded is needed; give another file"
    )


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the video that a person would watch, ready to be decoded.

    Raises:
        UnreadableVideoError: there is none.
    """
    stream = watched_stream(container)
    if stream is not None:
        # Threads that decode several pictures of H.264 at a time report damage by chance, and hide it in
        # different ways: one of them gives a picture out before another has found its damage.
        stream.thread_type = "SLICE" if stream.codec_context.codec.canonical_name == "h264" else "AUTO"
        # Frames may grow in the middle of a file, whatever its header says.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream
    if container.streams.audio:
        raise unreadable(path, "it has sound and no video track")
    raise unreadable(path, "it has no video track that can be decoded")


def counted_packets(
    container: InputContainer, stream: VideoStream | None, completeness: Completeness
) -> Iterator[Packet]:
    """Yield and count the packets of one stream (None: of all) up to the end or the first unreadable one."""
    packets = container.demux() if stream is None else container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError:
            completeness.num_errors += 1
            return
        completeness.count(packet)
        yield packet


def time_of(one: Packet | VideoFrame) -> Fraction | None:
    """Return the presentation time on the file's clock, in seconds; None if it is not known."""
    return None if one.pts is None or one.time_base is None else one.pts * one.time_base


def read_packets(path: Path) -> Iterator[Packet]:
    """Yield the packets of the video, up to the first unreadable one; nothing is decoded.

    Raises:
        UnreadableVideoError: it does not exist or is no video.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        yield from counted_packets(container, stream, Completeness(container, stream))


def sample_times(path: Path) -> list[Fraction | None]:
    """Return the presentation times of the first packets."""
    return display_times(read_packets(path))


def display_times(packets: Iterable[Packet]) -> list[Fraction | None]:
    """Return the presentation times of the first packets, in order of display."""
    return in_order_of_display((time_of(one), one.dts) for one in islice(packets, NUM_SAMPLED))
