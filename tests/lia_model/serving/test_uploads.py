import asyncio
import io
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from PIL import Image
from starlette.datastructures import Headers, UploadFile
from starlette.requests import Request

from lia_model.animation.media_check import check_media
from lia_model.animation.options import AnimationOptions
from lia_model.serving.errors import RefusalError
from lia_model.serving.uploads import require_known_fields, require_multipart, store_upload
from preprocessing.media.video_writer import VideoWriter
from tests.lia_model.serving.live import live
from tests.lia_model.serving.service import MEDIA, assert_refused, png


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, Fraction(25), (32, 32)) as writer:
        writer.write(np.zeros((32, 32, 3), dtype=np.uint8))
    return path.read_bytes()


def noise(side_px):
    """Return a PNG whose size in bytes is about three times its number of pixels."""
    buffer = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 255, (side_px, side_px, 3), dtype=np.uint8)
    Image.fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def store(path, content, name="upload", kind=None):
    headers = Headers({} if kind is None else {"content-type": kind})
    store_upload(
        UploadFile(io.BytesIO(content), filename=name, headers=headers),
        "source",
        path,
        partial(check_media, limits=MEDIA),
    )


@pytest.mark.parametrize("side_px", [32, 400, 1000])
def test_the_stored_file_has_exactly_the_bytes_that_were_sent(tmp_path, side_px):
    content = noise(side_px)
    store(tmp_path / "source", content)
    assert (tmp_path / "source").read_bytes() == content


MEDIA_KINDS = [
    "image/png",
    "video/mp4",
    "IMAGE/PNG",
    "image/whatever",
    "application/mp4",
    "Video/MP4; codecs=avc1",
]
UNDECLARED_KINDS = [None, "", "application/octet-stream"]
OTHER_KINDS = ["text/plain", "audio/mpeg", "application/json", "imagepng", "application/mp4x"]


@pytest.mark.parametrize("medium", ["png", "mp4"])
@pytest.mark.parametrize("kind", [*MEDIA_KINDS, *UNDECLARED_KINDS])
def test_a_picture_or_video_of_any_media_type_is_stored(tmp_path, mp4, medium, kind):
    content = png() if medium == "png" else mp4
    for name in ("a.png", "a.mp4", "without_suffix", "a.unknown"):
        store(tmp_path / "source", content, name, kind)
        assert (tmp_path / "source").read_bytes() == content


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_another_declared_type_is_refused_whatever_the_content(tmp_path, kind):
    with pytest.raises(RefusalError, match=f"source: {kind} is neither an image nor a video") as caught:
        store(tmp_path / "source", png(), "a.png", kind)
    assert (caught.value.status, caught.value.code) == (415, "wrong_type")
    assert not (tmp_path / "source").exists()


@pytest.mark.parametrize("kind", UNDECLARED_KINDS)
def test_without_a_declared_type_the_suffix_of_the_name_counts(tmp_path, kind):
    for name, wrong in (("a.txt", "text/plain"), ("a.mp3", "audio/mpeg")):
        with pytest.raises(RefusalError, match=f"{wrong} is neither"):
            store(tmp_path / "source", png(), name, kind)


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7", b"#EXTM3U\nfile:///etc/passwd"])
def test_other_content_is_refused_as_unreadable_or_as_the_wrong_type(tmp_path, content):
    with pytest.raises(RefusalError, match="source: the file is neither an image nor a video") as caught:
        store(tmp_path / "source", content)
    assert (caught.value.status, caught.value.code) == (415, "wrong_type")
    reason = "is empty" if content == b"" else "holds neither an image nor a video"
    with pytest.raises(RefusalError, match=f"source: got upload, which {reason}") as caught:
        store(tmp_path / "source", content, kind="video/mp4")
    assert (caught.value.status, caught.value.code) == (400, "unreadable_media")


def test_a_damaged_or_tiny_picture_is_refused_without_a_path_of_the_server(tmp_path):
    for content in (png()[:40], noise(31), noise(400)[:1000]):
        with pytest.raises(RefusalError) as caught:
            store(tmp_path / "source", content)
        assert (caught.value.status, caught.value.code) == (400, "unreadable_media")
        assert str(tmp_path) not in caught.value.message


HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(200)
BAD_FILES = {
    "empty.png": (b"", "got empty.png, which is empty (0 bytes): send"),
    "small.png": (noise(31), "got small.png of 31x31 px; both sides must be at least 32 px"),
    "phone.heic": (HEIC, "got phone.heic, a HEIC picture, which is not supported: convert it to JPEG or PNG"),
    "notes.png": (b"hello", "got notes.png, which holds neither an image nor a video"),
    "half.png": (png()[:40], "got half.png, which is not a readable image"),
    "header.mp4": (b"\0\0\0\x18ftypisom" + bytes(20), "got header.mp4, but "),
    "wide.png": (noise(1500), "got pictures of 1500x1500 px; at most 2000000 pixels are allowed"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_client_is_told_what_is_wrong_with_its_file_and_nothing_of_the_servers_folders(tmp_path, name):
    content, reason = BAD_FILES[name]
    with live(tmp_path, max_upload_bytes=10_000_000) as service:
        answer = service.post(driving=(name, content))
    assert_refused(answer, 413 if "pictures" in reason else 400, answer.json()["error"]["code"], reason)
    assert answer.json()["error"]["message"].startswith("driving: got ")
    assert tmp_path.name not in answer.text


@pytest.mark.parametrize("field", ["source", "driving"])
@pytest.mark.parametrize(
    ("upload", "status", "code"),
    [
        (("clip.mp4", b"hello", "text/plain"), 415, "wrong_type"),
        (("unnamed", b"hello"), 415, "wrong_type"),
        (("clip.mp4", b"hello"), 400, "unreadable_media"),
        (("photo.png", png()[:40], "image/png"), 400, "unreadable_media"),
    ],
)
def test_a_refused_upload_is_named_by_its_field_and_not_kept(service, field, upload, status, code):
    assert_refused(service.post(**{field: upload}), status, code, field)
    assert service.jobs.num_queued() == 0
    assert list(service.media.iterdir()) == []


def request_of(kind, form=b""):
    """Make a request with a body of the content type `kind`."""

    async def receive():
        return {"type": "http.request", "body": form, "more_body": False}

    headers = [] if kind is None else [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "Multipart/Form-Data; boundary=x"])
def test_a_form_with_files_passes(kind):
    require_multipart(request_of(kind))


@pytest.mark.parametrize(
    "kind", [None, "", "application/json", "application/x-www-form-urlencoded", "multipart/mixed; boundary=x"]
)
def test_a_body_of_another_type_is_refused(service, kind):
    with pytest.raises(RefusalError, match="multipart/form-data") as caught:
        require_multipart(request_of(kind))
    assert (caught.value.status, caught.value.code) == (415, "wrong_type")
    headers = {} if kind is None else {"Content-Type": kind}
    assert_refused(service.ask("POST", "/v1/animations", content=b"{}", headers=headers), 415, "wrong_type")


def check_fields(*names):
    form = "&".join(f"{name}=1" for name in names).encode()
    asyncio.run(require_known_fields(request_of("application/x-www-form-urlencoded", form)))


def test_files_model_priority_and_every_option_are_known_fields():
    known = ["source", "driving", "model", "priority", *AnimationOptions.model_fields]
    check_fields(*known)
    for name in known:
        with pytest.raises(RefusalError, match=f"{name}s: there is no such field; allowed are ") as caught:
            check_fields("source", f"{name}s")
        assert set(caught.value.message.partition("allowed are ")[2].split(", ")) == set(known)
        assert (caught.value.status, caught.value.code) == (422, "bad_field")
