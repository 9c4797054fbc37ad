"""Stores best generators in child processes that are killed before their first, second, third … write.

`python killed_upload.py URL SETTINGS.json` prints a line of JSON for each: the step of the best found
afterwards, that of the one that the next process stored, and the folders that are there then. Forks, since
importing torch takes seconds; the parent never speaks to the store, whose client has threads.
"""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import s3fs
import torch
from pyarrow.fs import FileSelector

from lia_model.checkpoints.best import Validated, read_best
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from lia_model.training.cluster.best_storage import fetch_best, keep_in_storage
from lia_model.training.cluster.run_storage import RunStorage

WRITES = ("put_file", "pipe_file", "rm", "rm_file", "mv", "copy")


def end_at(number):
    """Make this process end before its write of that number."""
    seen = 0

    def watched(write):
        def call(*args, **kwargs):
            nonlocal seen
            seen += 1
            if seen == number:
                os._exit(9)
            return write(*args, **kwargs)

        return call

    # Those that exist have methods of their own.
    s3fs.S3FileSystem.clear_instance_cache()
    for name in WRITES:
        setattr(s3fs.S3FileSystem, name, watched(getattr(s3fs.S3FileSystem, name)))


def keep(storage, network, step):
    generator = build_generator(network, seed=step)
    keep_in_storage(storage, generator, {}, Validated(step, "l1", 1 / step, "a"))


def find(storage):
    """Return the step of the best generator, whose weights have to be those of the step, and the folders."""
    with TemporaryDirectory() as folder:
        fetch_best(storage, Path(folder))
        best = read_best(Path(folder))
    files, root = storage.open()
    place = f"{root}/{storage.name}/best"
    listed = files.get_file_info(FileSelector(place, recursive=True))
    return best and best.step, sorted({info.path.split("/")[-2] for info in listed if info.is_file})


def in_child(work):
    """Return what `work` returns in a child process, or None if that was killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as file:
        content = file.read()
    return json.loads(content) if content else None


def main(url, settings):
    torch.set_num_threads(1)
    network = NetworkSettings.model_validate_json(Path(settings).read_text())
    number, has_ended = 0, False
    while not has_ended:
        number += 1
        storage = RunStorage(url, f"run-{number}")

        def killed(storage=storage, number=number):
            for step in (1, 2):
                keep(storage, network, step)
            end_at(number)
            keep(storage, network, 3)
            return True

        def later(storage=storage):
            after, _ = find(storage)
            keep(storage, network, 4)
            return [after, *find(storage)]

        has_ended = in_child(killed) is not None
        sys.stdout.write(json.dumps(in_child(later)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
