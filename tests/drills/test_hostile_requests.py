"""Thousands of malformed and hostile requests: no 5xx, no growing memory, health answers throughout.

schemathesis makes requests from the OpenAPI description; the others are damaged media, paths out of the
folders, wrong tokens, garbage on the socket, and uploads that hang.
"""

import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile
from tests.conftest import CHECKOUT
from tests.lia_model.serving.live import write_clip
from tests.lia_model.serving.service import png
from tests.ports import free_port

pytestmark = pytest.mark.drill

NUM_EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "1250"))
"""Of schemathesis for each call."""
NUM_DAMAGED = 300
MAX_HEALTH_S = 5.0
"""On a loaded machine."""
MAX_GROWTH = 60_000_000
UPWARDS = ("../" * 8 + "etc/passwd", "%2e%2e%2f" * 8 + "etc/passwd", "..%5c" * 8, "/etc/passwd", "%00", "%ff")
URLS = (
    "http://169.254.169.254/a.mp4",
    "file:///etc/passwd",
    "s3://a/b.mp4",
    "concat:/etc/passwd",
    "//host/a",
)

HEADS = (b"", b"GET / HTTP/1.1\r\n", b"POST /v1/batches HTTP/1.1\r\nContent-Length: -5\r\n")


class Server:
    """The process, what it takes, and how its health check answers."""

    def __init__(self, folder, port, token):
        self.url = f"http://127.0.0.1:{port}"
        self.headers = {"Authorization": f"Bearer {token}"}
        command = [sys.executable, "-m", "tests.drills.hostile_server", str(folder), str(port)]
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=CHECKOUT
            )
        self.health_s = []
        self.statuses = []
        self.peak_bytes = 0

    def rss(self):
        return psutil.Process(self.process.pid).memory_info().rss

    def wait_until_up(self):
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def watch(self, stopped):
        while not stopped.wait(0.3):
            begin = time.monotonic()
            try:
                status = httpx.get(f"{self.url}/healthz", timeout=30, trust_env=False).status_code
            except httpx.TransportError as error:
                status = repr(error)
            self.statuses.append(status)
            self.health_s.append(time.monotonic() - begin)
            self.peak_bytes = max(self.peak_bytes, self.rss())

    def counts(self):
        """Return the number of answers by status."""
        text = httpx.get(f"{self.url}/metrics", headers=self.headers, timeout=60, trust_env=False).text
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "lia_http_requests_total":
                    status = sample.labels["status"]
                    found[status] = found.get(status, 0) + int(sample.value)
        return found


@contextmanager
def hostile_server(folder):
    token = TokenFile(folder / "tokens.json").create(Scope.ADMIN).secret
    server = Server(folder, free_port(), token)
    stopped = threading.Event()
    watcher = threading.Thread(target=server.watch, args=(stopped,))
    try:
        server.wait_until_up()
        watcher.start()
        yield server
    finally:
        stopped.set()
        if watcher.is_alive():
            watcher.join()
        server.process.stdin.close()
        server.process.wait(60)


def fuzz_by_the_description(server, num_examples):
    """Let schemathesis make requests; it ends with 1 if an answer is 5xx."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    header = f"Authorization: {server.headers['Authorization']}"
    options = ["--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing", "--seed", "1"]
    more = ["--max-examples", str(num_examples), "--workers", "2", "--suppress-health-check", "all"]
    done = subprocess.run(
        [*command, "-H", header, *options, *more, "--continue-on-failure", "--request-timeout", "60"],
        capture_output=True,
        text=True,
        cwd=server.log.parent,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def damaged(content, rng):
    """Return the content, cut off, with changed bytes, or with a stretch of it repeated or removed."""
    begin, end = sorted(rng.randrange(len(content)) for _ in range(2))
    kind = rng.randrange(4)
    if kind == 0:
        return content[:end]
    if kind == 1:
        changed = bytearray(content)
        for _ in range(rng.randrange(1, 40)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    return content[:end] + content[begin:] if kind == 2 else content[:begin] + content[end:]


def send_damaged_media(client, contents, rng):
    for _ in range(NUM_DAMAGED):
        files = {name: damaged(rng.choice(contents), rng) for name in ("source", "driving")}
        name = rng.choice(["a.png", "../../a.mp4", "\0", "a" * 5000, "é.gif", ""]) or "x"
        yield client.post("/v1/animations", files={field: (name, data) for field, data in files.items()})


def send_paths(client):
    for path in UPWARDS:
        for prefix in ("/", "/v1/animations/", "/v1/batches/", "/static/"):
            for suffix in ("", "/video"):
                yield client.get(f"{prefix}{path}{suffix}")
    for path in (*UPWARDS, *URLS, "\0", "a" * 9000, "out/" + "x/" * 3000, "~root", "C:\\a"):
        for field in ("source", "driving", "output"):
            item = {"source": "a.png", "driving": "b.mp4", "output": "out"} | {field: path}
            output = item.pop("output")
            yield client.post("/v1/batches", json={"items": [item], "output": output})


def send_wrong_tokens(url, rng):
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        for _ in range(500):
            word = rng.choice(
                [b"Bearer lia_" + secrets.token_urlsafe(32).encode(), rng.randbytes(40).hex().encode()]
            )
            answer = client.request(
                rng.choice(["GET", "POST", "DELETE"]), "/v1/animations", headers={b"Authorization": word}
            )
            assert answer.status_code == 401


def send_garbage(port, rng):
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
            head = rng.choice(
                [b"", b"GET / HTTP/1.1\r\n", b"POST /v1/batches HTTP/1.1\r\nContent-Length: -5\r\n"]
            )
            one.sendall(head + rng.randbytes(rng.randrange(400)) + b"\r\n\r\n")


def hang(port, token, num_connections):
    """Open uploads that never end, and wait until the server has answered each of them."""
    begin = (
        "POST /v1/animations HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {token}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    with ExitStack() as stack:
        hanging = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            for _ in range(num_connections)
        ]
        for one in hanging:
            one.sendall(begin)
        return [int(one.makefile("rb").readline().split()[1]) for one in hanging]


def test_hostile_requests_break_nothing(tmp_path):
    rng = random.Random(5)
    clip = write_clip(tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.mp4").write_bytes(clip)
    with hostile_server(tmp_path) as server:
        port = int(server.url.rpartition(":")[2])
        with httpx.Client(
            base_url=server.url, headers=server.headers, timeout=120, trust_env=False
        ) as client:
            # Everything is loaded once before memory is measured.
            for answer in send_damaged_media(client, [png(), clip], random.Random(1)):
                assert answer.status_code < 500
            before = server.rss()
            begin_s = time.monotonic()
            for answers in (
                send_damaged_media(client, [png(), clip], rng),
                send_paths(client),
            ):
                for answer in answers:
                    assert answer.status_code < 500, (answer.request.url, answer.text)
            send_wrong_tokens(server.url, rng)
            send_garbage(port, rng)
            hung = [status for _ in range(3) for status in hang(port, server.headers["Authorization"], 70)]
            assert set(hung) == {408, 429}
            fuzz_by_the_description(server, NUM_EXAMPLES)
        after, counts = server.rss(), server.counts()
        assert server.process.poll() is None
    total = sum(counts.values())
    memory = f"{before / 1e6:.0f} to {after / 1e6:.0f} MB, at most {server.peak_bytes / 1e6:.0f} MB"
    health = f"{len(server.health_s)} health checks, the slowest {max(server.health_s):.2f} s"
    figures = f"{total} requests in {time.monotonic() - begin_s:.0f} s: {dict(sorted(counts.items()))}"
    print(f"{figures}; memory {memory}; {health}")  # noqa: T201 - the drill's log
    assert not [status for status in counts if status.startswith("5")]
    assert set(server.statuses) == {200}
    assert max(server.health_s) < MAX_HEALTH_S
    assert server.peak_bytes - before < MAX_GROWTH
    assert "Traceback" not in server.log.read_text()
