"""Video files in and out, by PyAV; the only file that imports av. Images are uint8 RGB [H, W, 3], upright.

Time is presentation time in seconds from the first shown frame: many phones record a variable frame rate.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec import Codec, CodecContext
from av.codec.hwaccel import HWAccel
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
X264 = ("libx264", {"crf": "18", "preset": "medium"})
NVENC = ("h264_nvenc", {"rc": "vbr", "cq": "19", "preset": "p5"})
COPIED_AUDIO = ("aac", "mp3", "ac3", "opus")
_EXIF_ORIENTATION = 0x0112
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH_AT = 24
_DEEP_MODES = ("I",)
"""Pillow's modes for 16-bit grey begin so."""


class UnreadableVideoError(ValueError):
    """The file holds no video that can be decoded."""


class NoVideoHardwareError(ValueError):
    """The GPU was asked for, and there is none that does it."""

    def __init__(self, task: str, error: Exception) -> None:
        super().__init__(
            f"hardware {task} of video was asked for, but no NVIDIA GPU here does it ({error}); "
            "leave it to the CPU, or install the driver's video libraries"
        )


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says; sizes are those of the upright frame."""

    width_px: int
    height_px: int
    fps: Fraction
    """Average rate."""
    num_frames: int
    """As the header has it, or by duration and rate where it says nothing."""
    duration_s: float
    """Of the video track."""
    codec: str
    """Of the video track."""
    audio_codec: str | None
    """Of the first audio track; None without sound."""

    @property
    def has_audio(self) -> bool:
        """Return whether there is sound."""
        return self.audio_codec is not None


class Frame(NamedTuple):
    """One shown frame."""

    image: Image
    pts_s: float


def probe(path: Path) -> VideoInfo:
    """Return what the header and the first frame say; only that frame is decoded.

    Raises:
        UnreadableVideoError: not a video, or its first frame does not decode.
    """
    with _open(path) as container:
        stream = _video_stream(container, path)
        try:
            first = next(container.decode(stream))
        except (FFmpegError, StopIteration) as error:
            raise _unreadable(path, "no frame of it decodes") from error
        is_turned = round(first.rotation / 90) % 2 == 1
        width, height = (first.height, first.width) if is_turned else (first.width, first.height)
        fps = Fraction(stream.average_rate or stream.guessed_rate or 25)
        duration_s = _claimed_duration_s(container, stream)
        sound = container.streams.audio
        return VideoInfo(
            width_px=width,
            height_px=height,
            fps=fps,
            num_frames=stream.frames or round(duration_s * fps),
            duration_s=duration_s,
            codec=stream.codec_context.codec.canonical_name,
            audio_codec=sound[0].codec_context.codec.canonical_name if sound else None,
        )


def decoded_duration_s(path: Path) -> float:
    """Decode the whole file and return how many seconds of video it really shows.

    A file that breaks off returns the part before the break.

    Raises:
        UnreadableVideoError: no frame decodes.
    """
    end_s = None
    for frame in _frames(path, stop_at_error=True):
        end_s = float(frame.end)
    if end_s is None:
        raise _unreadable(path, "no frame of it decodes")
    return end_s


def decode(path: Path, fps: Fraction | int | None = None, hardware: bool = False) -> Iterator[Frame]:
    """Yield the upright frames, one at a time.

    Args:
        path: any video file.
        fps: constant rate to resample to by presentation time: output frame n shows what is on screen in the
            middle of its own interval, (n + 1/2) / fps. None yields every frame as stored, with its own time.
        hardware: decode on the GPU (NVDEC).

    Raises:
        UnreadableVideoError: the file is not a video, or breaks off.
        NoVideoHardwareError: no GPU here decodes it.
    """
    convert = VideoReformatter()
    if fps is None:
        for shown in _frames(path, hardware=hardware):
            yield Frame(_upright_rgb(shown.frame, convert), float(shown.start))
        return
    count = 0
    last: VideoFrame | None = None
    for shown in _frames(path, hardware=hardware):
        image: Image | None = None
        while (count + Fraction(1, 2)) / fps < shown.end:
            image = _upright_rgb(shown.frame, convert) if image is None else image
            yield Frame(image, float(count / Fraction(fps)))
            count += 1
        last = shown.frame
    if count == 0 and last is not None:
        yield Frame(_upright_rgb(last, convert), 0.0)


def read_image(path: Path, convert: bool = True) -> Image:
    """Return a still image as uint8 RGB [H, W, 3]; of an animated one, the first picture.

    Args:
        path: any file that Pillow reads.
        convert: make it upright 8-bit RGB where it is not: transparency on white, the upper 8 of 16 bits,
            CMYK to RGB without a colour profile, turned as EXIF says. False refuses such an image. Grey
            and palette images are taken either way.

    Raises:
        ValueError: the file is not an image, or would have to be converted and must not.
    """
    try:
        with PillowImage.open(path) as image:
            odd = oddities(image, path)
            if odd and not convert:
                raise _unwelcome(path, odd)
            return np.asarray(_plain_rgb(image))
    # Pillow's words for a broken PNG chunk and for a size no honest photograph has.
    except (OSError, SyntaxError, PillowImage.DecompressionBombError) as error:
        raise ValueError(f"got {path}, which is no readable image; give a JPEG, PNG or WebP file") from error


def oddities(image: PillowImage.Image, path: Path) -> list[str]:
    """Return in words what keeps an opened image from being upright 8-bit RGB, nothing where it is."""
    turned = image.getexif().get(_EXIF_ORIENTATION, 1) in range(2, 9)
    found = {
        "an alpha channel": image.has_transparency_data,
        "16 bits a channel": image.mode.startswith(_DEEP_MODES) or _is_deep_png(path),
        "CMYK colours": image.mode == "CMYK",
        "an EXIF rotation": turned,
    }
    return [words for words, is_so in found.items() if is_so]


def _plain_rgb(image: PillowImage.Image) -> PillowImage.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(_DEEP_MODES):
        # Pillow would clip at 255. Of 16-bit colour it has kept the upper byte already.
        return PillowImage.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert("RGB")
    if upright.has_transparency_data:
        colours = upright.convert("RGBA")
        white = PillowImage.new("RGBA", colours.size, "white")
        return PillowImage.alpha_composite(white, colours).convert("RGB")
    return upright.convert("RGB")


def _is_deep_png(path: Path) -> bool:
    """Tell a PNG of 16 bits a channel by its header; Pillow opens one in colour as if it had 8."""
    with path.open("rb") as file:
        head = file.read(_PNG_DEPTH_AT + 1)
    return head.startswith(_PNG_START) and head[_PNG_DEPTH_AT:] == b"\x10"


def _png_kind(path: Path) -> bytes:
    """Return what of a PNG's header says its width, height, depth and colours."""
    with path.open("rb") as file:
        head = file.read(_PNG_DEPTH_AT + 2)
    if not head.startswith(_PNG_START):
        raise _unreadable(path, "it is not a PNG picture")
    return head[_PNG_DEPTH_AT - 8 :]


def _unwelcome(path: Path, odd: list[str]) -> ValueError:
    return ValueError(
        f"got {path} with {' and '.join(odd)}; an upright picture in 8-bit RGB or grey is needed; "
        "convert it, or ask for conversion (--convert)"
    )


def pack_frames(folder: Path, target: Path, fps: int) -> None:
    """Put a folder's PNG pictures, by their names, into a video as they are; equal folders give equal bytes.

    Args:
        folder: holds the pictures, which are of one size.
        target: a QuickTime file.
        fps: their rate.

    Raises:
        UnreadableVideoError: no picture, another kind of file by that name, or pictures of several sizes.
    """
    pictures = [path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".png"]
    kinds = {_png_kind(picture) for picture in pictures}
    if len(kinds) != 1:
        raise _unreadable(folder, f"it holds PNG pictures of {len(kinds)} sizes or depths")
    with (
        av.open(str(pictures[0]), format="png_pipe") as first,
        av.open(str(target), "w", format="mov", options={"fflags": "+bitexact"}) as container,
    ):
        stream = container.add_stream_from_template(first.streams.video[0])
        for number, picture in enumerate(pictures):
            packet = Packet(picture.read_bytes())
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, fps), True
            packet.pts = packet.dts = number
            packet.duration = 1
            container.mux(packet)


class VideoWriter:
    """Writes an H.264 mp4 with an exact constant frame rate, under a temporary name until it is complete.

    Used as a context manager; leaving it by an exception removes the unfinished file. Odd sizes lose no
    picture: yuv420p needs even ones, so the last row or column is repeated.

    Args:
        path: the finished file.
        fps: exact rate, such as Fraction(30000, 1001).
        size: (width, height) in pixels of the images to come.
        audio_from: a file whose first audio track is kept, copied where mp4 holds its codec and re-encoded to
            AAC where not; sound beyond the video's end is left out. None, or a file without sound, gives a
            silent video.
        hardware: encode on the GPU (NVENC), for which NoVideoHardwareError is raised where there is none.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction,
        size: tuple[int, int],
        audio_from: Path | None = None,
        hardware: bool = False,
    ) -> None:
        """Set up; nothing is written before the context is entered."""
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._fps = Fraction(fps)
        self._size = size
        self._audio_from = audio_from
        self._hardware = hardware
        self._count = 0

    def __enter__(self) -> "VideoWriter":
        """Open the temporary file."""
        if self._hardware:
            _require_encoder()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._output = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        codec, options = NVENC if self._hardware else X264
        stream = self._output.add_stream(codec, rate=self._fps, options=options)
        stream.width, stream.height = (side + side % 2 for side in self._size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / self._fps
        self._stream = stream
        self._audio = _AudioCopy(self._audio_from, self._output) if self._audio_from else None
        return self

    def write(self, image: Image) -> None:
        """Append one uint8 RGB [H, W, 3] image.

        Raises:
            ValueError: the image has another size than promised.
        """
        height, width = image.shape[:2]
        if (width, height) != self._size:
            raise ValueError(
                f"got an image of {width}x{height} px; this video has {self._size[0]}x{self._size[1]} px; "
                "resize the image"
            )
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = self._count
        frame.time_base = 1 / self._fps
        self._output.mux(self._stream.encode(frame))
        self._count += 1
        if self._audio is not None:
            self._audio.write_until(self._count / self._fps)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file and give it its name, or remove it after an exception."""
        try:
            if kind is None:
                self._output.mux(self._stream.encode(None))
                if self._audio is not None:
                    self._audio.finish()
        finally:
            if self._audio is not None:
                self._audio.close()
            self._output.close()
            if kind is not None:
                self._partial.unlink(missing_ok=True)
        if kind is None:
            self._partial.replace(self._path)


class _AudioCopy:
    """The first audio track of a file, muxed into an output step by step as the video advances."""

    def __init__(self, source: Path, output: OutputContainer) -> None:
        """Open the source and add an audio stream to the output, where there is sound."""
        self._input = _open(source)
        self._output = output
        self._packets: Iterator[av.Packet] = iter(())
        self._stream: AudioStream | None = None
        if not self._input.streams.audio:
            return
        track = self._input.streams.audio[0]
        video = self._input.streams.video[0] if self._input.streams.video else None
        self._offset = _start(video) if video is not None else Fraction(0)
        self._is_copied = track.codec_context.codec.canonical_name in COPIED_AUDIO
        if self._is_copied:
            self._stream = output.add_stream_from_template(track)
        else:
            self._stream = output.add_stream("aac", rate=track.codec_context.sample_rate)
        self._packets = self._input.demux(track)
        self._pending: av.Packet | None = None

    def write_until(self, end: Fraction) -> None:
        """Mux the packets that start before `end`, in seconds of the video."""
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
        """Flush the encoder, where there is one."""
        if self._stream is not None and not self._is_copied:
            self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        """Close the input."""
        self._input.close()


class _Shown(NamedTuple):
    """A decoded frame and when it is on screen, in seconds from the first frame."""

    frame: VideoFrame
    start: Fraction
    end: Fraction


def _frames(path: Path, stop_at_error: bool = False, hardware: bool = False) -> Iterator[_Shown]:
    """Yield decoded frames with their intervals; a frame lasts until the next one starts."""
    with _open(path, hardware) as container:
        stream = _video_stream(container, path)
        time_base = stream.time_base or Fraction(1, 1000)
        usual = 1 / Fraction(stream.average_rate or stream.guessed_rate or 25)
        origin: Fraction | None = None
        waiting: tuple[VideoFrame, Fraction] | None = None
        try:
            for frame in container.decode(stream):
                known = None if frame.pts is None else frame.pts * time_base
                if known is None:
                    known = Fraction(0) if waiting is None else waiting[1] + usual + (origin or 0)
                origin = known if origin is None else origin
                start = known - origin
                if waiting is not None:
                    if start <= waiting[1]:
                        continue
                    yield _Shown(waiting[0], waiting[1], start)
                waiting = (frame, start)
        except FFmpegError as error:
            if not stop_at_error:
                raise _unreadable(path, "it breaks off in the middle") from error
            logger.warning("%s breaks off in the middle", path.name)
        if waiting is None:
            raise _unreadable(path, "no frame of it decodes")
        lasts = waiting[0].duration * time_base if waiting[0].duration else usual
        yield _Shown(waiting[0], waiting[1], waiting[1] + lasts)


def _open(path: Path, hardware: bool = False) -> InputContainer:
    try:
        return av.open(str(path), hwaccel=_decoder() if hardware else None)
    except (FFmpegError, OSError) as error:
        reason = "there is no such file" if not path.is_file() else "it is not a video"
        raise _unreadable(path, reason) from error


def _decoder() -> HWAccel:
    try:
        accelerator = HWAccel(device_type="cuda", allow_software_fallback=False)
        accelerator.create(Codec("h264", "r"))
    except (FFmpegError, RuntimeError, ValueError) as error:
        raise NoVideoHardwareError("decoding", error) from error
    return accelerator


def _require_encoder() -> None:
    """Encode one black frame to nowhere: whether NVENC works shows only then."""
    try:
        encoder = CodecContext.create(NVENC[0], "w")
        encoder.width = encoder.height = 256
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
        encoder.open()
    except (FFmpegError, ValueError) as error:
        raise NoVideoHardwareError("encoding", error) from error


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise _unreadable(path, "it has no video track")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _claimed_duration_s(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _start(stream: VideoStream) -> Fraction:
    return (stream.start_time or 0) * (stream.time_base or Fraction(0))


def _upright_rgb(frame: VideoFrame, convert: VideoReformatter) -> Image:
    """Return the pixels, turned as the file's display matrix asks (its angle is counter-clockwise).

    `convert` serves one file: a frame left to itself sets up a converter of its own, which takes several
    times as long as converting.
    """
    image = np.asarray(convert.reformat(frame, format="rgb24").to_ndarray(), dtype=np.uint8)
    num_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, num_turns)) if num_turns else image


def _unreadable(path: Path, reason: str) -> UnreadableVideoError:
    return UnreadableVideoError(
        f"got {path}, but {reason}; a video that can be decoded is needed; give another file"
    )
