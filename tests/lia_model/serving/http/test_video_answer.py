import asyncio
import itertools

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import FileResponse

from lia_model.serving.http.video_answer import VideoAnswer
from tests.lia_model.serving.service import assert_refused

CONTENT = b"0123456789"


@pytest.fixture
def ask(tmp_path):
    """Function that asks for the file with some headers, as a video or as a plain file."""
    path = tmp_path / "video.mp4"
    path.write_bytes(CONTENT)
    api = FastAPI()

    @api.get("/video", response_class=FileResponse)
    def video() -> FileResponse:
        return VideoAnswer(path, media_type="video/mp4")

    @api.get("/plain", response_class=FileResponse)
    def plain() -> FileResponse:
        return FileResponse(path, media_type="video/mp4")

    def send(where, **headers):
        async def get():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(api), base_url="http://service"
            ) as client:
                return await client.get(where, headers=headers)

        return asyncio.run(get())

    return send


def test_every_range_within_the_file_is_exactly_that_part(ask):
    for first, last in itertools.combinations_with_replacement(range(len(CONTENT)), 2):
        part = ask("/video", Range=f"bytes={first}-{last}")
        assert (part.status_code, part.content) == (206, CONTENT[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/10"
        assert part.headers["content-length"] == str(last + 1 - first)


@pytest.mark.parametrize("wanted", [None, "bytes=0-", "bytes=4-", "bytes=-3", "bytes=5-99", "bytes=0-0"])
def test_what_is_in_the_file_is_answered_as_a_plain_file_is(ask, wanted):
    headers = {} if wanted is None else {"Range": wanted}
    video, plain = ask("/video", **headers), ask("/plain", **headers)
    assert plain.status_code < 300
    assert (video.status_code, video.content, video.headers) == (
        plain.status_code,
        plain.content,
        plain.headers,
    )
    assert video.headers["content-type"] == "video/mp4"
    assert video.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ("bytes=10-", 416, "bad_range"),
        ("bytes=50-60", 416, "bad_range"),
        ("lines=1-2", 400, "bad_request"),
        ("bytes=5-2", 400, "bad_request"),
        ("bytes", 400, "bad_request"),
    ],
)
def test_a_range_that_is_not_in_the_file_is_refused_in_json(ask, wanted, status, code):
    refused = ask("/video", Range=wanted)
    assert_refused(refused, status, code, "Range header")
    assert refused.headers["content-type"] == "application/json"
    assert refused.headers.get("content-range") == ("bytes */10" if status == 416 else None)


def test_a_range_of_an_older_version_of_the_video_gets_the_whole(ask):
    whole = ask("/video", Range="bytes=2-5", **{"If-Range": '"an older version"'})
    assert (whole.status_code, whole.content) == (200, CONTENT)
    part = ask("/video", Range="bytes=2-5", **{"If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, CONTENT[2:6])


def test_a_finished_animation_is_answered_as_a_video(service):
    video = service.post().json()["links"]["video"]
    service.finish(CONTENT)
    whole = service.ask("GET", video)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["content-type"] == "video/mp4"
    part = service.ask("GET", video, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, CONTENT[2:6])
    assert_refused(service.ask("GET", video, headers={"Range": "bytes=50-60"}), 416, "bad_range")
