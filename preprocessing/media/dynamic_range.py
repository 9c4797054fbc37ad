"""Tells HDR video from other video, by the header alone."""

from pathlib import Path

from preprocessing.media.animated_pictures import is_animated_picture
from preprocessing.media.containers.packets import open_input
from preprocessing.media.containers.streams import watched_stream
from preprocessing.media.rendering import HDR_TRANSFERS


def is_hdr(path: Path) -> bool:
    """Return whether a file's video is PQ or HLG, which `video_reader` maps to the range of other video.

    Raises:
        UnreadableVideoError: the file does not exist or is no media file.
    """
    if path.is_file() and is_animated_picture(path):
        return False
    with open_input(path) as container:
        stream = watched_stream(container)
        return stream is not None and stream.codec_context.color_trc in HDR_TRANSFERS
