"""What an attacker may try against a server that listens on a real port."""

import io
import os
import socket
import time
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image

from lia_model.animation.media_check import MediaChecker
from tests.lia_model.serving.live import served, write_clip
from tests.lia_model.serving.service import MEDIA, REQUESTS, Service, assert_refused, png
from tests.peak_memory import forget_peak, peak_bytes


@pytest.fixture
def start(tmp_path):
    """A function that starts a service on a port of its own and returns a client of it."""
    with ExitStack() as servers:

        def start(**settings):
            service = Service(tmp_path, **settings)
            return service, servers.enter_context(served(service.api))

        yield start


@pytest.fixture
def checker():
    checker = MediaChecker(MEDIA.model_copy(update={"max_pixels": 50_000_000}))
    yield checker
    checker.close()


def empty_png(side_px):
    """Return a PNG of a few kilobytes whatever its size in pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side_px, side_px, 3), dtype=np.uint8)).save(buffer, "png", compress_level=9)
    return buffer.getvalue()


def test_pictures_are_never_decoded_in_the_process_that_answers(start, checker):
    _, client = start(check=checker.check)
    allowed, too_large = empty_png(7_000), empty_png(7_100)
    forget_peak()
    before = peak_bytes()
    answer = client.post("/v1/animations", files={"source": allowed, "driving": png()})
    assert answer.status_code == 202, answer.text
    answer = client.post("/v1/animations", files={"source": png(), "driving": too_large})
    assert_refused(answer, 413, "too_large", "driving: got pictures of 7100x7100 px", "at most 50000000")
    assert peak_bytes() - before < 60_000_000


BEGIN = (
    b"POST /v1/animations HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def connect(client):
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=30)


def test_hanging_uploads_neither_block_others_nor_last(start):
    limits = REQUESTS.model_copy(update={"max_num_uploads": 4, "max_pause_s": 2})
    _, client = start(requests=limits)
    with ExitStack() as stack:
        hanging = [stack.enter_context(connect(client)) for _ in range(70)]
        for one in hanging:
            one.sendall(BEGIN)
        time.sleep(0.5)
        for path in ("/healthz", "/v1/models"):
            assert client.get(path, timeout=1).status_code == 200
        refused = client.post("/v1/animations", files={"source": png(), "driving": png()}, timeout=1)
        assert_refused(refused, 429, "too_many_uploads", "at most 4")
        assert int(refused.headers["Retry-After"]) > 0
        first_lines = [one.makefile("rb").readline() for one in hanging]
    statuses = [line.split()[1] for line in first_lines]
    assert statuses.count(b"429") == 66
    assert statuses.count(b"408") == 4
    answer = client.post("/v1/animations", files={"source": png(), "driving": png()})
    assert answer.status_code == 202, answer.text


def test_a_chunked_body_is_refused_at_the_limit_and_never_held(start):
    _, client = start(max_upload_bytes=1_000_000)
    piece = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    forget_peak()
    before = peak_bytes()
    num_sent = 0
    head = b'--x\r\nContent-Disposition: form-data; name="source"; filename="a.png"\r\n\r\n'
    with connect(client) as sender:
        sender.sendall(BEGIN + b"%x\r\n" % len(head) + head + b"\r\n")
        try:
            for _ in range(300):
                sender.sendall(piece)
                num_sent += len(piece)
        except OSError:
            pass
    assert num_sent < 30_000_000
    assert peak_bytes() - before < 60_000_000
    assert client.get("/healthz").status_code == 200


def test_the_health_check_fails_while_no_worker_lives(start):
    service, client = start()
    assert client.get("/healthz").status_code == 200
    worker = service.root / "serving" / "worker"
    os.utime(worker, (0, 0))
    assert_refused(client.get("/healthz"), 503, "no_worker")
    service.workers.beat()
    assert client.get("/healthz").status_code == 200


def test_forged_hosts_and_origins_are_refused(start):
    service, client = start()
    upload = {"source": png(), "driving": png()}
    for forged in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        answer = client.post("/v1/animations", files=upload, headers=forged)
        assert_refused(answer, 403, "foreign_origin")
    assert service.jobs.num_queued() == 0
    own = {"Origin": f"http://{client.base_url.host}:{client.base_url.port}"}
    assert client.post("/v1/animations", files=upload, headers=own).status_code == 202


def test_only_the_application_answers(start):
    _, client = start(token="s3cret")
    for path in ("/-/routes", "/-/healthz", "/openapi.json", "/docs"):
        assert_refused(client.get(path), 401, "unauthorized")
    assert "server" not in client.get("/healthz").headers


PLAYLISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3.0,\n{url}\n#EXT-X-ENDLIST\n",
    '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI="{url}"\n#EXTINF:3.0,\n{url}\n',
    "ffconcat version 1.0\nfile {url}\n",
    "ffconcat version 1.0\nfile source\n",
    "[playlist]\nFile1={url}\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="0" bandwidth="9"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period>'
    "</MPD>",
    '<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>',
)


def test_an_upload_that_names_other_files_opens_none(start, tmp_path):
    """A playlist would read other files of the server, or addresses that only the server reaches."""
    service, client = start(token="s3cret")
    client.headers["Authorization"] = "Bearer s3cret"
    secret = write_clip(tmp_path / "secret.mp4")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for url in (f"file://{secret}", f"http://127.0.0.1:{port}/a.mp4"):
            for playlist in PLAYLISTS:
                content = playlist.format(url=url, port=port).encode()
                answer = client.post(
                    "/v1/animations",
                    files={"source": png(), "driving": ("clip.m3u8", content, "application/octet-stream")},
                )
                assert answer.status_code in (400, 415), (playlist, answer.text)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert service.jobs.num_queued() == 0
