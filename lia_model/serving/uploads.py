"""Receives the uploads of a request: checks what they are and stores them durably."""

import mimetypes
import shutil
from pathlib import Path

from fastapi import Request
from starlette.datastructures import UploadFile

from lia_model.animation.footage import UnreadableMediaError, media_kind, require_media
from lia_model.animation.options import AnimationOptions
from lia_model.serving.errors import RefusalError, bad_field
from lia_model.serving.jobs import make_durable

_COPY_BYTES = 1 << 20


def require_multipart(request: Request) -> None:
    """Refuse a body of another type than a form with files."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise RefusalError(415, "wrong_type", "send the files as multipart/form-data")


async def require_known_fields(request: Request) -> None:
    """Refuse a form with a field that nothing reads, such as a misspelt one."""
    known = {"source", "driving", "model", *AnimationOptions.model_fields}
    for name in await request.form():
        if name not in known:
            raise bad_field(name, f"there is no such field; allowed are {', '.join(sorted(known))}")


def store_upload(upload: UploadFile, field: str, path: Path) -> None:
    """Copy an upload to `path` if both its declared type and its content are an image or a video."""
    declared = upload.content_type
    if declared in (None, "", "application/octet-stream"):
        declared = mimetypes.guess_type(upload.filename or "")[0]
    is_media = declared is not None and declared.startswith(("image/", "video/"))
    wrong_type = RefusalError(415, "wrong_type", f"{field}: {declared or 'this'} is not an image or a video")
    if declared is not None and not is_media:
        raise wrong_type
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file, _COPY_BYTES)
    if media_kind(path) is None and not is_media:
        raise wrong_type
    try:
        require_media(path)
    except UnreadableMediaError:
        raise RefusalError(
            400, "unreadable_media", f"{field}: no picture can be read from this file"
        ) from None
    make_durable(path)
