"""Renders decoded frames as players show them: upright RGB images with square pixels, all of one size.

Colours follow the frame's tags: matrix, range, and for HDR (PQ, HLG) transfer and primaries, which are mapped
to BT.709. An untagged matrix is BT.709 from 720 lines on, else BT.601. Rounding is exact (`accurate_rnd`), so
that pixels do not depend on the processor. Interlaced frames are deinterlaced (bwdif), one picture a frame.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np
from av.error import BlockingIOError as NothingYetError
from av.error import EOFError as NothingLeftError
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation, VideoReformatter

from preprocessing.media.images import Image
from preprocessing.media.picture import Picture, small_size

HD_LINES = 720
"""Untagged video with at least so many lines is taken as BT.709."""
EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
EXACT_RESIZING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
EXACT_SHRINKING = Interpolation.AREA | Interpolation.ACCURATE_RND
"""Pairs of neighbouring pixels share their chroma; with `FULL_CHR_H_INT` they would not, but all pixels would
be brighter by 1.5 levels."""
HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)

# AVColorSpace of ITU-T H.273 to the swscale matrix that implements it.
_UNTAGGED = 2
_BT709, _BT601 = 1, 5
_MATRICES = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: 9, 10: 9}
_MAX_STRETCH = 10
"""Pixel aspects beyond this, either way, are damaged headers."""


class FrameRenderer:
    """Renders the frames of one video stream, in order.

    Args:
        pixel_aspect: width of a pixel over its height; None is 1.
        first_size: stored width and height of the frame that gives all pictures their size; None takes the
            first frame that is rendered.
    """

    def __init__(
        self, pixel_aspect: Fraction | None = None, first_size: tuple[int, int] | None = None
    ) -> None:
        aspect = pixel_aspect or Fraction(1)
        self._aspect = aspect if 1 / _MAX_STRETCH <= aspect <= _MAX_STRETCH else Fraction(1)
        # Shared by all frames: setting up a converter takes several times as long as a conversion.
        self._convert, self._convert_small = VideoReformatter(), VideoReformatter()
        self._size = None if first_size is None else self._square_pixels(*first_size)

    def picture(self, frame: VideoFrame) -> Picture:
        """Return the picture; frames of another size than the first are resized to it."""
        if self._size is None:
            self._size = self._square_pixels(frame.width, frame.height)
        num_bytes = sum(plane.buffer_size for plane in frame.planes)
        return Picture(partial(self._render, frame), partial(self._shrink, frame), num_bytes)

    def _square_pixels(self, width: int, height: int) -> tuple[int, int]:
        return max(1, round(width * self._aspect)), height

    def _render(self, frame: VideoFrame) -> Image:
        assert self._size is not None
        is_resized = (frame.width, frame.height) != self._size
        return _converted(self._convert, frame, self._size, EXACT_RESIZING if is_resized else EXACT)

    def _shrink(self, frame: VideoFrame) -> Image:
        """Return the small view without rendering all pixels."""
        assert self._size is not None
        if _is_transposed(_display_matrix(frame)):
            height, width = small_size(*self._size[::-1])
        else:
            width, height = small_size(*self._size)
        return _converted(self._convert_small, frame, (width, height), EXACT_SHRINKING)


def _converted(
    convert: VideoReformatter, frame: VideoFrame, size: tuple[int, int], interpolation: Interpolation
) -> Image:
    rgb = convert.reformat(
        frame,
        width=size[0],
        height=size[1],
        format="rgb24",
        interpolation=interpolation,
        # Sources run in parallel, and threads of several processes starve each other.
        threads=1,
        **_colours(frame),
    )
    return _turn_upright(np.asarray(rgb.to_ndarray(), dtype=np.uint8), _display_matrix(frame))


def deinterlace(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield the frames; from the first interlaced one on, interlaced frames are deinterlaced."""
    graph: Graph | None = None
    shape = None
    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        if graph is None or shape != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                yield from _drain(graph)
            graph, shape = _bwdif(frame), (frame.width, frame.height, frame.format.name)
        graph.vpush(frame)
        yield from _pull(graph)
    if graph is not None:
        yield from _drain(graph)


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return (a, b, c, d) of the display matrix: x shown is a x + c y, y shown is b x + d y."""
    # `frame.side_data` would keep frame and container alive, each by the other, until the garbage collector
    # comes: hundreds of frames, 0.9 GB of 1080 lines.
    data = SideDataContainer(frame).get("DISPLAYMATRIX")  # pyright: ignore[reportCallIssue]
    if data is None:
        return 1, 0, 0, 1
    matrix = np.frombuffer(bytes(data), dtype=np.int32)
    return int(matrix[0]), int(matrix[1]), int(matrix[3]), int(matrix[4])


def _is_transposed(matrix: tuple[int, int, int, int]) -> bool:
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def _turn_upright(image: Image, matrix: tuple[int, int, int, int]) -> Image:
    """Flip and transpose as the nearest of the eight axis-parallel display matrices says."""
    a, b, c, d = matrix
    if _is_transposed(matrix):
        image, flips_x, flips_y = image.swapaxes(0, 1), c < 0, b < 0
    else:
        flips_x, flips_y = a < 0, d < 0
    return np.ascontiguousarray(image[:: -1 if flips_y else 1, :: -1 if flips_x else 1])


def _colours(frame: VideoFrame) -> dict[str, int]:
    """Return the arguments of the conversion that follow from the frame's tags."""
    if frame.format.is_rgb:
        return {}
    if frame.color_trc in HDR_TRANSFERS:
        return {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
    if frame.colorspace == _UNTAGGED:
        return {"src_colorspace": _BT709 if frame.height >= HD_LINES else _BT601}
    matrix = _MATRICES.get(frame.colorspace)
    return {} if matrix is None else {"src_colorspace": matrix}


def _bwdif(frame: VideoFrame) -> Graph:
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        ),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _drain(graph: Graph) -> Iterator[VideoFrame]:
    graph.vpush(None)
    yield from _pull(graph)


def _pull(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (NothingYetError, NothingLeftError):
            return
