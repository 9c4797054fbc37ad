import signal
import subprocess
import sys

from preprocessing.storage import held_folder

HOLD = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from preprocessing.storage.held_folder import held_folder
with held_folder("work-") as folder:
    print(folder.name, flush=True)
    time.sleep(60)
"""


def test_a_folder_is_gone_at_the_end_and_that_of_a_killed_process_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(held_folder, "_START_S", 0)
    monkeypatch.setattr(held_folder.tempfile, "tempdir", str(tmp_path))
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as living,
    ):
        try:
            left, used = (process.stdout.readline().strip() for process in (killed, living))
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            assert {path.name for path in tmp_path.iterdir()} == {left, used}
            with held_folder.held_folder("work-") as folder:
                assert {path.name for path in tmp_path.iterdir()} == {used, folder.name}
        finally:
            living.kill()
            killed.kill()
    assert not folder.exists()
