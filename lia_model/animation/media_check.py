"""Checks a file of unknown origin against limits: first its header, then its packets, then one picture.

Decoders allocate what a file asks for and may crash, so that a child process does all of it
(`python -m lia_model.animation.media_check`), with limits on time and memory.
"""

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal

from lia_model.animation.footage import MediaKind, UnreadableMediaError, media_kind, require_media
from lia_model.animation.motion_file import is_motion_file, read_motion
from lia_model.settings import MediaLimits
from preprocessing.media.animated_pictures import is_animated_picture, read_animation
from preprocessing.media.containers.packets import open_input, read_packets
from preprocessing.media.containers.streams import watched_stream
from preprocessing.media.images import is_heic, is_picture, picture_header
from preprocessing.sandbox.child_server import ChildError, ChildServer, answer_requests

FileKind = MediaKind | Literal["motion"]
NUM_CHILDREN = 2
"""How many files are checked at a time."""


class MediaTooLargeError(UnreadableMediaError):
    """The file exceeds a limit; the message names no path."""


class MediaChecker:
    """Checks files in child processes, which start with the first file and are reused.

    Args:
        limits: of the files and of the processes.
    """

    def __init__(self, limits: MediaLimits) -> None:
        self._limits = limits
        self._idle: queue.SimpleQueue[ChildServer] = queue.SimpleQueue()
        for _ in range(NUM_CHILDREN):
            self._idle.put(ChildServer("lia_model.animation.media_check"))

    def check(self, path: Path) -> FileKind | None:
        """Return the kind of the file by its content, or None if it is none of them.

        Threads may call this at the same time; they wait for one another.

        Raises:
            MediaTooLargeError: it exceeds a limit, or the check of it does.
            UnreadableMediaError: its first picture cannot be decoded or is too small.
        """
        request = json.dumps({"path": str(path.absolute()), "limits": self._limits.model_dump()})
        try:
            with self._child() as child:
                answer = json.loads(
                    child.ask(request, self._limits.check_timeout_s, self._limits.check_memory_bytes)
                )
        except ChildError as error:
            raise MediaTooLargeError(
                f"the process that checked the file {error}; make the file smaller or encode it again"
            ) from None
        if "too_large" in answer:
            raise MediaTooLargeError(answer["too_large"])
        if "unreadable" in answer:
            raise UnreadableMediaError(answer["unreadable"])
        return answer["kind"]

    @contextmanager
    def _child(self) -> Iterator[ChildServer]:
        child = self._idle.get()
        try:
            yield child
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """End the child processes; a later check starts them again."""
        for _ in range(NUM_CHILDREN):
            with self._child() as child:
                child.__exit__(None, None, None)


def check_media(path: Path, limits: MediaLimits) -> FileKind | None:
    """Check the file in this process; see `MediaChecker.check`.

    Raises:
        MediaTooLargeError: it exceeds a limit.
        UnreadableMediaError: its first picture cannot be decoded or is too small, or it is a damaged motion
            file.
    """
    if is_motion_file(path):
        _check_length(len(read_motion(path).weights), Fraction(0), limits)
        return "motion"
    if is_picture(path) and not is_heic(path):
        _check_picture(path, limits)
    kind = media_kind(path)
    if kind == "video" and not is_picture(path):
        _check_video(path, limits)
    return None if kind is None else require_media(path)


def _check_picture(path: Path, limits: MediaLimits) -> None:
    try:
        kind, width, height = picture_header(path)
    except ValueError as error:
        raise UnreadableMediaError(str(error)) from error
    if kind != "JPEG":
        _check_size(width, height, limits)
    if is_animated_picture(path):
        try:
            for num_before, picture in enumerate(read_animation(path)):
                _check_length(num_before + 1, picture.end, limits)
        except (OSError, SyntaxError):
            # A damaged end is told when the file is opened.
            return


def _check_video(path: Path, limits: MediaLimits) -> None:
    try:
        with open_input(path) as container:
            stream = watched_stream(container)
            if stream is not None:
                _check_size(stream.width, stream.height, limits)
        # The last packet only tells the decoder that it is the last.
        pictures = (packet for packet in read_packets(path) if packet.size and not packet.is_discard)
        first = None
        for num_before, packet in enumerate(pictures):
            time = None if packet.pts is None else packet.pts * packet.time_base
            first = time if first is None else first
            duration_s = Fraction(0) if time is None or first is None else abs(time - first)
            _check_length(num_before + 1, duration_s, limits)
    except MediaTooLargeError:
        raise
    except ValueError as error:
        raise UnreadableMediaError(str(error)) from error


def _check_size(width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.max_pixels:
        raise MediaTooLargeError(
            f"got pictures of {width}x{height} px; at most {limits.max_pixels} pixels are allowed: make them "
            "smaller"
        )


def _check_length(num_frames: int, duration_s: Fraction, limits: MediaLimits) -> None:
    if num_frames > limits.max_num_frames:
        raise MediaTooLargeError(
            f"got more than {limits.max_num_frames} frames, the limit: cut the clip or lower its frame rate"
        )
    if duration_s > limits.max_duration_s:
        raise MediaTooLargeError(
            f"got a clip of at least {float(duration_s):.0f} s; at most {limits.max_duration_s:g} s are "
            "allowed: cut it"
        )


def _answer(text: str) -> str:
    request = json.loads(text)
    try:
        kind = check_media(Path(request["path"]), MediaLimits.model_validate(request["limits"]))
    except MediaTooLargeError as error:
        return json.dumps({"too_large": str(error)})
    except UnreadableMediaError as error:
        return json.dumps({"unreadable": str(error)})
    return json.dumps({"kind": kind})


if __name__ == "__main__":
    answer_requests(_answer)
