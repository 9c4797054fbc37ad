import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from preprocessing.sandbox.child import ChildError, ChildTimeoutError
from preprocessing.sandbox.child_server import ChildServer

MODULE = """
import os, sys, time
from preprocessing.sandbox.child_server import serve

def answer(request):
    print("this is for people")
    if request == "die":
        print("out of luck", file=sys.stderr)
        os._exit(3)
    if request == "stall":
        time.sleep(60)
    if request == "grow":
        globals()["kept"] = bytearray(os.urandom(1)) * 1_100_000_000
    return f"{os.getpid()} {request}"

if __name__ == "__main__":
    serve(answer)
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    (tmp_path / "echo_worker.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with ChildServer("echo_worker") as server:
        yield server


def test_one_process_answers_many_requests(server):
    answers = [server.ask(f"request {number}").split(" ", 1) for number in range(3)]
    assert [words for _, words in answers] == ["request 0", "request 1", "request 2"]
    assert len({pid for pid, _ in answers}) == 1


def test_a_crash_costs_one_request_and_says_its_last_words(server):
    server.ask("hello")
    with pytest.raises(ChildError, match="ended with code 3: out of luck"):
        server.ask("die")
    assert server.ask("again").endswith(" again")


def test_a_stall_ends_at_its_time_and_costs_one_request(server):
    pid = int(server.ask("hello", 30).split()[0])
    with pytest.raises(ChildTimeoutError, match=r"took longer than 0\.5 s"):
        server.ask("stall", 0.5)
    assert not psutil.pid_exists(pid)
    assert server.ask("again").endswith(" again")


def test_a_process_that_has_grown_is_replaced(server):
    first = server.ask("grow").split()[0]
    assert server.ask("next").split()[0] != first


def test_a_killed_process_is_a_failure_of_the_request_alone(server):
    pid = int(server.ask("hello").split()[0])
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildError, match="code -9"):
        server.ask("lost")
    assert server.ask("again").endswith(" again")


@pytest.mark.usefixtures("server")
def test_no_worker_outlives_its_killed_parent():
    program = (
        "from preprocessing.sandbox.child_server import ChildServer; w = ChildServer('echo_worker'); "
        "print(w.ask('x'), flush=True); "
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline().split()[0])
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)
