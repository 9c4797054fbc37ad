"""Chooses the streams of a media file that a person would watch and hear.

Files hold other pictures too: cover art, previews, time codes. Streams that FFmpeg cannot decode have no
codec context in PyAV, so that their properties must not be read.
"""

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

_NOT_WATCHED = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_PICTURE_CODECS = ("mjpeg", "png", "bmp", "gif", "webp", "tiff")
"""Codecs of cover art; some containers do not mark it as attached."""


def watched_stream(container: InputContainer) -> VideoStream | None:
    """Return the default video stream, the largest if several or none are default; None without video."""
    videos = [one for one in container.streams.video if _is_watched(one)]
    # A stream of still pictures is video only if the file has no other: motion JPEG is a codec of cameras.
    moving = [one for one in videos if one.codec_context.codec.canonical_name not in _PICTURE_CODECS]
    videos = moving or [one for one in videos if not _is_one_picture(one, container)]
    default = [one for one in videos if one.disposition & Disposition.default]
    return max(default or videos, key=lambda one: one.width * one.height, default=None)


def heard_stream(container: InputContainer) -> AudioStream | None:
    """Return the first sound that can be decoded; None without one."""
    return next((one for one in container.streams.audio if one.codec_context is not None), None)


def has_only_undecodable_sound(container: InputContainer) -> bool:
    """Return whether there is sound, but in codecs that FFmpeg does not know."""
    return bool(container.streams.audio) and heard_stream(container) is None


def _is_watched(stream: VideoStream) -> bool:
    return (
        stream.codec_context is not None
        and not stream.disposition & _NOT_WATCHED
        and stream.width * stream.height > 0
    )


def _is_one_picture(stream: VideoStream, container: InputContainer) -> bool:
    """Return whether a stream of still pictures is cover art beside sound."""
    return bool(container.streams.audio) and stream.frames <= 1 and stream.average_rate in (None, 90000)
