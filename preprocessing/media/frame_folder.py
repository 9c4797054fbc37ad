"""A folder of PNG pictures packed into one video file, without loss."""

from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet

from preprocessing.media.containers.packets import unreadable
from preprocessing.media.images import png_format
from preprocessing.storage.natural_order import natural_order


def pack_frames(folder: Path, target: Path, fps: int) -> None:
    """Pack a folder's PNG pictures into a video, in the order of the numbers in their names.

    Equal folders give equal bytes.

    Args:
        folder: holds the pictures, all of one size and depth.
        target: the QuickTime file to write.
        fps: frames a second.

    Raises:
        UnreadableVideoError: there is no picture, one is no PNG, or they differ in size or depth.
    """
    pictures = [path for path in sorted(folder.iterdir(), key=natural_order) if path.suffix.lower() == ".png"]
    formats = {png_format(picture) for picture in pictures}
    if None in formats:
        raise unreadable(folder, "a file in it that is named .png is not a PNG picture")
    if len(formats) != 1:
        raise unreadable(folder, f"it holds PNG pictures of {len(formats)} sizes or depths")
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
