"""What is told of an animation that cannot be made: a fixed code for programs, and a message without folders.

These are failures that another attempt cannot mend. All others are faults of the program or of the machine.
"""

from collections.abc import Iterable
from pathlib import Path

from lia_model.animation.footage import UnreadableMediaError
from lia_model.animation.framing import NoFaceError, NoSuchFaceError
from lia_model.animation.media_check import MediaTooLargeError
from lia_model.animation.options import OptionsConflictError

CODES: dict[type[Exception], str] = {
    NoFaceError: "no_face",
    NoSuchFaceError: "no_such_face",
    OptionsConflictError: "bad_options",
    MediaTooLargeError: "too_large",
    UnreadableMediaError: "unreadable_media",
}
"""Codes by the kind of error; a special kind comes before its general one."""
FAILURES = tuple(CODES)
"""The errors that have a code."""


def code_of(error: Exception) -> str:
    """Return the code of one of `FAILURES`."""
    return next(code for kind, code in CODES.items() if isinstance(error, kind))


def without_folders(error: Exception, paths: Iterable[Path]) -> str:
    """Return the message of an error with these paths named without their folders."""
    message = str(error)
    for path in paths:
        message = message.replace(str(path), path.name)
    return message
