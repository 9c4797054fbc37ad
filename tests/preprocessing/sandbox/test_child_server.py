import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from preprocessing.sandbox.child_server import (
    ChildError,
    ChildMemoryError,
    ChildServer,
    ChildTimeoutError,
)

MODULE = """
import os, subprocess, sys, time
from pathlib import Path
from preprocessing.sandbox.child_server import answer_requests

def answer(request):
    print("this is for people")
    if request == "exit":
        print("out of luck", file=sys.stderr)
        os._exit(3)
    if request == "abort":
        os.abort()
    if request == "raise":
        raise RuntimeError("no such thing")
    if request == "stall":
        time.sleep(60)
    if request == "grow":
        globals()["kept"] = bytearray(os.urandom(1)) * 1_100_000_000
    if request == "grow and stall":
        globals()["kept"] = bytearray(os.urandom(1)) * 300_000_000
        time.sleep(60)
    if request.startswith("fork"):
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(request.removeprefix("fork ")).write_text(f"{os.getpid()} {grandchild.pid}")
        time.sleep(60)
    return f"{os.getpid()} {request}"

if __name__ == "__main__":
    answer_requests(answer)
"""


@pytest.fixture(autouse=True)
def echo_module(tmp_path, monkeypatch):
    (tmp_path / "echo.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


@pytest.fixture
def server():
    with ChildServer("echo") as server:
        yield server


def is_alive(pid):
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_one_process_answers_many_requests(server):
    answers = [server.ask(f"request {number}").split(" ", 1) for number in range(3)]
    assert [words for _, words in answers] == ["request 0", "request 1", "request 2"]
    assert len({pid for pid, _ in answers}) == 1


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("exit", "ended with code 3: out of luck"),
        ("abort", "ended with code -6"),
        ("raise", "ended with code 1: RuntimeError: no such thing"),
    ],
)
def test_a_crash_costs_one_request_and_is_reported_with_its_last_line(server, request_, reason):
    server.ask("hello")
    with pytest.raises(ChildError, match=reason):
        server.ask(request_)
    assert server.ask("again").endswith(" again")


def test_a_stall_ends_at_the_time_limit_and_costs_one_request(server):
    pid = int(server.ask("hello", 30).split()[0])
    with pytest.raises(ChildTimeoutError, match=r"took longer than 0\.5 s"):
        server.ask("stall", 0.5)
    assert not psutil.pid_exists(pid)
    assert server.ask("again").endswith(" again")


def test_a_leak_ends_at_the_memory_limit_and_costs_one_request(server):
    pid = int(server.ask("hello", 30, 200_000_000).split()[0])
    with pytest.raises(ChildMemoryError, match="more than 200000000 bytes of memory"):
        server.ask("grow and stall", 30, 200_000_000)
    assert not psutil.pid_exists(pid)
    assert server.ask("again", 30, 200_000_000).endswith(" again")


def test_a_process_that_has_grown_is_replaced(server):
    first = server.ask("grow").split()[0]
    assert server.ask("next").split()[0] != first


def test_a_killed_process_fails_only_its_request(server):
    pid = int(server.ask("hello").split()[0])
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildError, match="code -9"):
        server.ask("lost")
    assert server.ask("again").endswith(" again")


def test_the_process_ends_with_the_context():
    with ChildServer("echo") as server:
        pid = server.ask("hello", 30).split()[0]
        assert is_alive(pid)
    assert not is_alive(pid)


def test_the_time_limit_ends_grandchildren_too(tmp_path):
    with ChildServer("echo") as server, pytest.raises(ChildTimeoutError, match="longer than 4 s"):
        server.ask(f"fork {tmp_path / 'pids'}", 4)
    pids = (tmp_path / "pids").read_text().split()
    assert wait_for(lambda: not any(is_alive(pid) for pid in pids))


def test_a_killed_parent_takes_child_and_grandchild_with_it(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "from preprocessing.sandbox.child_server import ChildServer; "
        f"ChildServer('echo').ask({f'fork {pids}'!r}, 60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    assert wait_for(lambda: len(read_words(pids)) == 2)
    parent.kill()
    parent.wait()
    assert wait_for(lambda: not any(is_alive(pid) for pid in read_words(pids)))


def read_words(path: Path):
    return path.read_text().split() if path.is_file() else []


def test_an_idle_child_ends_with_its_killed_parent():
    program = (
        "from preprocessing.sandbox.child_server import ChildServer; server = ChildServer('echo'); "
        "print(server.ask('x'), flush=True); "
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline().split()[0])
    parent.kill()
    parent.communicate()
    assert wait_for(lambda: not is_alive(pid), 5)
