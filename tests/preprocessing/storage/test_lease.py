import json
import multiprocessing
import os
import re
import signal
import socket
import threading

import pytest

from preprocessing.storage import lease
from preprocessing.storage.lease import Owner, held_lease, is_held


def test_a_second_holder_is_told_who_since_when_and_what_to_do(tmp_path):
    path = tmp_path / "run/lease.json"
    with held_lease(path, "the run x"):
        message = (
            rf"the run x is held by process {os.getpid()} on {re.escape(socket.gethostname())} since "
            rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC; one process at a time .* remove {re.escape(str(path))}$"
        )
        with pytest.raises(ValueError, match=message), held_lease(path, "the run x"):
            pass
        # The refusal leaves the lease to its holder.
        assert path.is_file()
    with held_lease(path, "the run x"):
        assert is_held(path)
    assert not path.exists()
    assert not is_held(path)


def _hold_until_killed(path, ready):
    with held_lease(path, "x"):
        ready.set()
        threading.Event().wait()


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path, caplog):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold_until_killed, args=(tmp_path / "lease.json", ready))
    process.start()
    assert ready.wait(60)
    with (
        pytest.raises(ValueError, match=f"held by process {process.pid} "),
        held_lease(tmp_path / "lease.json", "x"),
    ):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with held_lease(tmp_path / "lease.json", "x"):
        assert f"process {process.pid} on {socket.gethostname()}, which held x, is gone" in caplog.text


def write_foreign(path, age_s, **changed):
    """Write the lease of a process of another machine, renewed so long ago."""
    owner = vars(Owner.here()) | {"machine": "another", "host": "far"} | changed
    path.write_text(json.dumps(owner))
    at = path.stat().st_mtime - age_s
    os.utime(path, (at, at))


def test_a_lease_of_another_machine_holds_until_it_is_stale(tmp_path):
    path = tmp_path / "lease.json"
    write_foreign(path, lease.STALE_AFTER_S - 60)
    with pytest.raises(ValueError, match="on far since"), held_lease(path, "x"):
        pass
    write_foreign(path, lease.STALE_AFTER_S + 60)
    with held_lease(path, "x"):
        assert json.loads(path.read_text())["host"] == socket.gethostname()


def test_another_process_with_the_number_of_the_owner_does_not_hold_its_lease(tmp_path):
    path = tmp_path / "lease.json"
    write_foreign(path, 0, machine=Owner.here().machine, started_ticks="1")
    with held_lease(path, "x"):
        pass


def test_a_lease_is_renewed_and_its_loss_is_reported(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lease, "RENEWAL_INTERVAL_S", 0.01)
    path = tmp_path / "lease.json"
    lost = threading.Event()
    monkeypatch.setattr(lease.log, "error", lambda *_: lost.set())
    with held_lease(path, "x"):
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            pass
        write_foreign(path, 0)
        assert lost.wait(10)
    # Not ours to remove.
    assert json.loads(path.read_text())["host"] == "far"


def test_half_a_lease_is_none(tmp_path):
    (tmp_path / "lease.json").write_text('{"pid": 1')
    with held_lease(tmp_path / "lease.json", "x"):
        pass
