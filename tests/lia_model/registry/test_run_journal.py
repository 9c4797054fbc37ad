import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from lia_model.registry.run_journal import JOURNAL, RunJournal, curves, entries

PICTURE = np.full((4, 8, 3), 7, np.uint8)


def lines(folder):
    return [entry for entry, _ in entries(folder)]


def test_each_metric_of_a_step_is_kept_once_across_restarts(tmp_path):
    killed = RunJournal(tmp_path)
    killed.add_metrics(1, {"loss/l1": 0.5})
    killed.add_metrics(2, {"loss/l1": 0.4})
    resumed = RunJournal(tmp_path)
    resumed.add_metrics(2, {"loss/l1": 0.4, "validation/l1": 0.3})
    resumed.add_metrics(3, {"loss/l1": 0.2})
    assert [(line["step"], line["metrics"]) for line in lines(tmp_path)] == [
        (1, {"loss/l1": 0.5}),
        (2, {"loss/l1": 0.4}),
        (2, {"validation/l1": 0.3}),
        (3, {"loss/l1": 0.2}),
    ]
    assert curves(tmp_path, ("loss/",)) == {"loss/l1": {1: 0.5, 2: 0.4, 3: 0.2}}


def test_a_picture_is_kept_once_and_comes_back_as_it_was(tmp_path):
    for journal in (RunJournal(tmp_path), RunJournal(tmp_path)):
        journal.add_picture("strip", 5, PICTURE)
    (line,) = lines(tmp_path)
    assert (line["picture"], line["step"]) == ("strip", 5)
    assert np.array_equal(Image.open(tmp_path / line["file"]), PICTURE)


@pytest.mark.parametrize("torn", ['{"step": 2, "metr', '{"step": 2}'])
def test_what_a_killed_writer_left_of_a_line_is_not_read_and_is_overwritten(tmp_path, torn):
    RunJournal(tmp_path).add_metrics(1, {"loss/l1": 0.5})
    with (tmp_path / JOURNAL).open("a") as file:
        file.write(torn)
    assert len(lines(tmp_path)) == 1
    RunJournal(tmp_path).add_metrics(2, {"loss/l1": 0.4})
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]
    assert [json.loads(line)["step"] for line in (tmp_path / JOURNAL).read_text().splitlines()] == [1, 2]


def test_reading_goes_on_where_it_ended(tmp_path):
    journal = RunJournal(tmp_path)
    journal.add_metrics(1, {"loss/l1": 0.5})
    ((_, end_bytes),) = entries(tmp_path)
    journal.add_metrics(2, {"loss/l1": 0.4})
    assert [line["step"] for line, _ in entries(tmp_path, end_bytes)] == [2]


def test_a_writer_killed_at_any_moment_leaves_whole_lines_without_a_gap(tmp_path):
    program = (
        "import sys; from pathlib import Path; from lia_model.registry.run_journal import RunJournal\n"
        "journal = RunJournal(Path(sys.argv[1]))\n"
        "for step in range(1, 10**9): journal.add_metrics(step, {f'loss/{n}': step / 3 for n in range(50)})\n"
    )
    for wait_s in (0.0, 0.01, 0.03):
        writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
        size_bytes = _size(tmp_path)
        while _size(tmp_path) == size_bytes:
            time.sleep(0.001)
        time.sleep(wait_s)
        writer.kill()
        writer.wait()
    steps = [line["step"] for line in lines(tmp_path)]
    assert steps == list(range(1, len(steps) + 1))


def _size(folder):
    return (folder / JOURNAL).stat().st_size if (folder / JOURNAL).exists() else 0


PROGRAM = """
import logging, sys
from pathlib import Path
from lia_model.registry.run_journal import RunJournal, entries
logging.basicConfig(stream=sys.stdout, format="%(message)s")
disk, journal = Path(sys.argv[1]), RunJournal(Path(sys.argv[1]) / "run")
journal.add_metrics(1, {"loss/l1": 0.5})
rest = disk / "rest"
with rest.open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(512))
    except OSError:
        pass
for step in range(2, 200):
    journal.add_metrics(step, {f"loss/{n}": 0.4 for n in range(5)})
try:
    journal.sync()
except OSError as error:
    print("sync:", error.strerror)
print(all(line["step"] < 199 for line, _ in entries(disk / "run")))
rest.unlink()
journal.sync()
print([line["step"] for line, _ in entries(disk / "run")] == list(range(1, 200)))
"""


def test_lines_that_a_full_disk_refuses_wait_in_memory_and_are_written_later(run_on_small_disk, tmp_path):
    warning, *told = run_on_small_disk(PROGRAM, tmp_path / "disk", "64k", tmp_path / "disk")
    assert "its lines wait in memory" in warning
    assert told == ["sync: No space left on device", "True", "True"]
