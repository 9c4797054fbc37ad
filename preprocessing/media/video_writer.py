"""Writes H.264 video with PyAV.

Pixels are converted as the tags say: BT.709 from 720 lines on, else BT.601, limited range, exact rounding.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from preprocessing.media.codecs.video_hardware import NVENC, require_gpu_encoder
from preprocessing.media.codecs.x264 import x264
from preprocessing.media.images import Image
from preprocessing.media.rendering import EXACT, HD_LINES
from preprocessing.media.sound.soundtrack import Soundtrack
from preprocessing.media.timeline import Segment
from preprocessing.storage.files import write_atomically

BT709, BT601 = 1, 6
"""Codes of primaries, transfer and matrix in ITU-T H.273."""
LEAST_TICKS_PER_S = 90000
"""Resolution of times; a multiple of the rate, so that constant rates stay exact."""


class VideoWriter:
    """Writes an H.264 mp4; it appears under its name when it is complete.

    Used as a context manager; an exception inside removes the unfinished file. An odd size repeats the last
    row or column, since yuv420p needs even ones.

    Args:
        path: the finished file.
        fps: exact rate, such as Fraction(30000, 1001).
        size: (width, height) in pixels of the images to come.
        audio_from: a file whose first decodable sound is kept, copied if mp4 can hold it, else encoded to
            AAC; sound beyond the video's end is cut off. None, or a file without sound, gives a silent video.
        hardware: encode on the GPU (NVENC).
        segments: stretches of that file's video that make up this one, if it has holes; see `Soundtrack`.
        tags: metadata of the container, by any names; None has none.

    Raises:
        NoVideoHardwareError: on entering, `hardware` without a GPU that encodes.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction,
        size: tuple[int, int],
        audio_from: Path | None = None,
        hardware: bool = False,
        segments: Sequence[Segment] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._path = path
        self._fps = Fraction(fps)
        self._size = size
        self._audio_from = audio_from
        self._hardware = hardware
        self._segments = segments
        self._tags = tags or {}
        self._time_base = Fraction(1, self._fps.numerator * -(-LEAST_TICKS_PER_S // self._fps.numerator))
        self._convert = VideoReformatter()
        self._end = Fraction(0)
        self._last_pts = -1

    def __enter__(self) -> "VideoWriter":
        """Open the temporary file."""
        if self._hardware:
            require_gpu_encoder()
        with ExitStack() as stack:
            partial = stack.enter_context(write_atomically(self._path))
            self._open(partial)
            self._publish = stack.pop_all()
        return self

    def _open(self, partial: Path) -> None:
        # mp4 has a fixed list of names by default, and tags of other names are dropped.
        flags = "+faststart+use_metadata_tags" if self._tags else "+faststart"
        self._output = av.open(f"file:{partial}", "w", format="mp4", options={"movflags": flags})
        self._output.metadata.update(self._tags)
        codec, options = NVENC if self._hardware else x264(self._size[0])
        stream = self._output.add_stream(codec, rate=self._fps, options=options)
        stream.width, stream.height = (side + side % 2 for side in self._size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        self._standard = BT709 if stream.height >= HD_LINES else BT601
        context.color_primaries = context.color_trc = context.colorspace = self._standard
        context.color_range = ColorRange.MPEG
        self._stream = stream
        self._audio = Soundtrack(self._audio_from, self._output, self._segments) if self._audio_from else None

    def write(self, image: Image, start: Fraction | None = None) -> None:
        """Append one uint8 RGB [H, W, 3] image.

        Args:
            image: of the promised size.
            start: when it is shown, in seconds; later than its predecessor. None shows it when that ends.

        Raises:
            ValueError: the image has another size than promised.
        """
        height, width = image.shape[:2]
        if (width, height) != self._size:
            raise ValueError(
                f"got an image of {width}x{height} px; this video is {self._size[0]}x{self._size[1]} px; "
                "resize the image"
            )
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        rgb = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = self._convert.reformat(
            rgb,
            format="yuv420p",
            dst_colorspace=self._standard,
            dst_color_range=ColorRange.MPEG,
            interpolation=EXACT,
            threads=1,
        )
        frame.color_primaries = frame.color_trc = frame.colorspace = self._standard
        start = self._end if start is None else start
        frame.time_base = self._time_base
        frame.pts = self._last_pts = max(self._last_pts + 1, round(start / self._time_base))
        frame.duration = round(1 / (self._fps * self._time_base))
        self._output.mux(self._stream.encode(frame))
        self._end = start + 1 / self._fps
        if self._audio is not None:
            self._audio.write_until(self._end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file and give it its name, or remove it after an exception."""
        with self._publish:
            try:
                if kind is None:
                    self._output.mux(self._stream.encode(None))
                    if self._audio is not None:
                        self._audio.finish()
            finally:
                if self._audio is not None:
                    self._audio.close()
                self._output.close()
            if error is not None:
                # Handed on so that the unfinished file is removed instead of renamed.
                raise error
