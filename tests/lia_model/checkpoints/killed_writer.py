"""Writes checkpoints in child processes that end at their first, second, third … file operation.

`python killed_writer.py FOLDER kill|abort SETTINGS.json` prints a line of JSON for each: the step of the
checkpoint found afterwards, that of the one that the next writer left, and what lies there then. Forks, since
importing torch takes seconds.
"""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import torch

from lia_model.checkpoints.file_hashes import HASHES
from lia_model.checkpoints.versions import POINTER, CheckpointVersions
from lia_model.settings import TrainSettings
from lia_model.training.state import load_state, new_state, write_state


def end_at(number, folder, how):
    """Make this process end at its file operation of that number in `folder`; return how many it has done."""
    seen = 0

    def watch(event, args):
        nonlocal seen
        if event.split(".")[0] not in ("open", "os", "shutil") or not any(folder in str(arg) for arg in args):
            return
        seen += 1
        if seen == number and how == "kill":
            os._exit(9)
        if seen == number:
            raise OSError(errno.ENOSPC, "no space left on device")

    sys.addaudithook(watch)
    return lambda: seen


def write(root, state, step):
    state.step = step
    with CheckpointVersions(root, num_kept=2).write(step) as folder:
        write_state(state, folder, {})
        (folder / "released").mkdir()
        (folder / "released" / "generator").write_bytes(b"weights")


def found(root, state):
    latest = CheckpointVersions(root, num_kept=2).latest()
    # Not another one, taken because this one is not whole.
    assert latest == root / json.loads((root / POINTER).read_text())["checkpoint"]
    assert (latest / HASHES).is_file()
    load_state(state, latest)
    return state.step


def has_fewer_operations(number, root, how, state):
    """Write in a child process that ends at an operation; return whether it did fewer."""
    pid = os.fork()
    if pid == 0:
        sys.stderr = None  # The traceback of a full disk is of no interest.
        num_done = end_at(number, str(root), how)
        try:
            write(root, state, 3)
        finally:
            os._exit(0 if num_done() < number else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def main(folder, how, settings):
    torch.set_num_threads(1)
    state = new_state(TrainSettings.model_validate_json(Path(settings).read_text()), 32, torch.device("cpu"))
    start, root = Path(folder) / "start", Path(folder) / "run"
    for step in (1, 2):
        write(start, state, step)
    number, has_ended = 0, False
    while not has_ended:
        number += 1
        shutil.copytree(start, root)
        has_ended = has_fewer_operations(number, root, how, state)
        after = found(root, state)
        write(root, state, 4)
        left = sorted(path.name for path in root.iterdir())
        sys.stdout.write(json.dumps([after, found(root, state), left]) + "\n")
        shutil.rmtree(root)


if __name__ == "__main__":
    main(*sys.argv[1:])
