"""Receives the uploads of a request: checks their type and content, and stores them durably."""

import mimetypes
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fastapi import Request
from starlette.datastructures import UploadFile

from lia_model.animation.footage import UnreadableMediaError
from lia_model.animation.media_check import FileKind, MediaTooLargeError
from lia_model.animation.options import AnimationOptions
from lia_model.serving.errors import RefusalError, bad_field
from preprocessing.storage.files import make_durable

_COPY_BYTES = 1 << 20

OTHER_VIDEO_TYPES = ("application/mp4", "application/ogg")
"""Declared types of videos beside video/*."""

MediaCheck = Callable[[Path], FileKind | None]
"""Returns the kind of a file by its content, or raises; see `MediaChecker.check`."""


def require_multipart(request: Request) -> None:
    """Refuse a body that is not a form with files.

    Raises:
        RefusalError: the content type is not multipart/form-data.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RefusalError(
            415, "wrong_type", "the body is not a form with files; send it as multipart/form-data"
        )


async def require_known_fields(request: Request) -> None:
    """Refuse a form with an unknown field, such as a misspelt option, or with one field several times.

    Raises:
        RefusalError: a field is no file, not the model or the priority, and no option of the animation; or it
            comes several times.
    """
    await require_fields(request, {"source", "driving", "model", "priority", *AnimationOptions.model_fields})


async def require_fields(request: Request, known: set[str]) -> None:
    """Refuse a form with a field that is not known, or with one field several times.

    Raises:
        RefusalError: there is such a field.
    """
    for name, num_values in Counter(name for name, _ in (await request.form()).multi_items()).items():
        if name not in known:
            raise bad_field(name, f"there is no such field; allowed are {', '.join(sorted(known))}")
        if num_values > 1:
            raise bad_field(name, f"got {num_values} values; send one")


def store_upload(upload: UploadFile, field: str, path: Path, check: MediaCheck) -> None:
    """Copy an upload to `path` if both its declared type and its content are an image or a video.

    The field `driving` takes a motion file too. If the client declares no type, the suffix of the file name
    stands for it; without either, only the content counts. A refused upload may leave a file at `path`, which
    the caller removes.

    Args:
        upload: the file as sent.
        field: name of its form field, for the error message.
        path: where it is stored; its folder exists.
        check: looks at the content; this process decodes nothing.

    Raises:
        RefusalError: it is neither an image nor a video, exceeds a limit, or its first picture cannot be
            read.
    """
    declared = upload.content_type
    if declared in (None, "", "application/octet-stream"):
        declared = mimetypes.guess_type(upload.filename or "")[0]
    is_media = declared is not None and _is_media_type(declared)
    wrong_type = RefusalError(
        415,
        "wrong_type",
        f"{field}: {declared or 'the file'} is neither an image nor a video; send one of these",
    )
    if declared is not None and not is_media:
        raise wrong_type
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file, _COPY_BYTES)
    name = upload.filename or "the file"
    try:
        kind = check(path)
    except MediaTooLargeError as error:
        raise RefusalError(413, "too_large", f"{field}: {error}") from None
    except UnreadableMediaError as error:
        raise _unreadable(field, str(error).replace(str(path), name)) from None
    if kind is None and not is_media:
        raise wrong_type
    if kind == "motion" and field != "driving":
        raise RefusalError(
            415,
            "wrong_type",
            f"{field}: the file holds motion and no picture; send an image or a video, and the motion file "
            "as driving",
        )
    if kind is None:
        what = "is empty (0 bytes)" if path.stat().st_size == 0 else "holds neither an image nor a video"
        raise _unreadable(field, f"got {name}, which {what}: send a JPEG, PNG or mp4")
    make_durable(path)


def _is_media_type(declared: str) -> bool:
    """Return whether a declared type may stand for an image or a video; parameters do not matter."""
    kind = declared.partition(";")[0].strip().lower()
    return kind.startswith(("image/", "video/")) or kind in OTHER_VIDEO_TYPES


def _unreadable(field: str, reason: str) -> RefusalError:
    return RefusalError(400, "unreadable_media", f"{field}: {reason}")
