import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preprocessing.sandbox.child import ChildError, ChildTimeoutError, run_isolated

CHILD = """
import os, subprocess, sys, time
from pathlib import Path
from preprocessing.sandbox import child as isolation

def handle(request):
    if request == "die":
        os.abort()
    if request == "raise":
        raise RuntimeError("no such thing")
    if request.startswith("hang"):
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(request.removeprefix("hang ")).write_text(f"{os.getpid()} {helper.pid}")
        time.sleep(60)
    return request.upper()

if __name__ == "__main__":
    isolation.answer(handle)
"""


@pytest.fixture(autouse=True)
def child(tmp_path, monkeypatch):
    (tmp_path / "child_for_test.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_answer_comes_back():
    assert run_isolated("child_for_test", "hello", 30) == "HELLO"


def test_an_exception_is_told_by_its_last_line():
    with pytest.raises(ChildError, match="ended with code 1: RuntimeError: no such thing"):
        run_isolated("child_for_test", "raise", 30)


def test_a_crash_is_a_failure_of_the_child_alone():
    with pytest.raises(ChildError, match="ended with code -6"):
        run_isolated("child_for_test", "die", 30)


def test_time_limit_ends_the_child_and_what_it_started(tmp_path):
    with pytest.raises(ChildTimeoutError, match="longer than 4 s"):
        run_isolated("child_for_test", f"hang {tmp_path / 'pids'}", 4)
    pids = (tmp_path / "pids").read_text().split()
    assert wait_for(lambda: not any(is_alive(pid) for pid in pids))


def test_a_killed_parent_takes_the_child_with_it(tmp_path):
    request = f"hang {tmp_path / 'pids'}"
    code = f"from preprocessing.sandbox.child import *; run_isolated('child_for_test', {request!r}, 60)"
    parent = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    assert wait_for((tmp_path / "pids").is_file)
    parent.kill()
    parent.wait()
    pids = (tmp_path / "pids").read_text().split()
    assert wait_for(lambda: not any(is_alive(pid) for pid in pids))
