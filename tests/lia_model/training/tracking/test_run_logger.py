import json

import numpy as np
import pytest

from lia_model.registry.run_journal import RunJournal, entries
from lia_model.registry.runs import DAMAGED_FRAMES
from lia_model.training.pairs.damage import Damage, DamagedFrame
from lia_model.training.tracking.run_logger import RunLogger, is_kept

STRIP = np.zeros((4, 8, 3), np.uint8)


def test_metrics_and_strips_reach_the_journal_before_any_checkpoint(tmp_path):
    logger = RunLogger(RunJournal(tmp_path), strip_every_steps=10)
    logger.add_metrics(10, {"loss/l1": 0.5})
    logger.add_strip(10, STRIP)
    logger.commit()
    metrics, picture = (line for line, _ in entries(tmp_path))
    assert metrics["metrics"] == {"loss/l1": 0.5}
    assert (picture["picture"], picture["step"]) == ("strip", 10)


def test_a_long_run_keeps_few_strips_and_its_last_one(tmp_path):
    logger = RunLogger(RunJournal(tmp_path), strip_every_steps=10)
    for step in [*range(10, 1000, 10), 995]:
        logger.add_strip(step, STRIP)
    kept = [line["step"] for line, _ in entries(tmp_path)]
    assert kept[-1] == 995
    assert len(kept) == 1 + sum(map(is_kept, range(1, 100)))


@pytest.mark.parametrize("num_strips", [33, 100, 800, 100_000])
def test_strips_are_dense_at_first_and_a_doubling_adds_sixteen(num_strips):
    kept = [number for number in range(1, num_strips) if is_kept(number)]
    assert kept[:31] == list(range(1, 32))
    for start in (2**power for power in range(5, num_strips.bit_length() - 1)):
        assert sum(start <= number < 2 * start for number in kept) == 16


def test_a_new_list_of_damaged_frames_goes_beside_the_data_of_the_run(tmp_path):
    logger = RunLogger(RunJournal(tmp_path), strip_every_steps=10)
    logger.log_damage(Damage({DamagedFrame("a-clip", 3, "train/00000.tar", "not an image")}, 2))
    ((line, _),) = entries(tmp_path)
    assert line["text"] == DAMAGED_FRAMES
    (frame,) = json.loads(line["content"])
    assert (frame["clip"], frame["frame"]) == ("a-clip", 3)
