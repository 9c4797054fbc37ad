import subprocess
import sys

import pytest

from infra.scale.__main__ import number, report
from infra.scale.estimate import estimate
from infra.scale.inputs import read_inputs
from infra.scale.queue import simulate
from tests.conftest import CHECKOUT


@pytest.fixture
def inputs():
    return read_inputs()


def value(inputs, part, what):
    (found,) = (line.value for line in estimate(inputs) if (line.part, line.what) == (part, what))
    return found


def test_the_document_shows_what_the_program_prints(inputs):
    document = (CHECKOUT / "infra/SCALE.md").read_text()
    for table in report(inputs).rstrip().split("\n\n"):
        assert table in document, (
            "SCALE.md is out of date: replace its tables by those of `python -m infra.scale`"
        )


def test_twice_the_videos_take_twice_the_time_and_space(inputs):
    double = inputs.changed({"num_videos": 2 * inputs["num_videos"]})
    for part, what in (
        ("download", "time under the host's quota"),
        ("factory", "processor time"),
        ("object store", "shards"),
    ):
        assert value(double, part, what) == pytest.approx(2 * value(inputs, part, what))


def test_gpus_beyond_the_global_batch_do_not_help_the_recipe(inputs):
    more = inputs.changed({"num_gpus": 1024})
    assert value(more, "training", "time on those") == value(inputs, "training", "time on those")
    fewer = inputs.changed({"num_gpus": 4})
    assert value(fewer, "training", "time on those") == 2 * value(inputs, "training", "time on those")


def test_a_queue_of_one_worker_waits_as_theory_says():
    load, spread = 0.7, 0.5
    waiting = simulate(
        jobs_per_s=load, job_s=1, num_workers=1, max_num_queued=10**6, duration_s=200_000, seed=1
    )
    # Pollaczek and Khinchine, with the variance of a lognormal length.
    variance = 2.718281828 ** (spread**2) - 1
    assert waiting.mean_s == pytest.approx(load * (1 + variance) / (2 * (1 - load)), rel=0.05)
    assert waiting.refused == 0


def test_an_overloaded_queue_refuses_the_surplus():
    waiting = simulate(jobs_per_s=20, job_s=1, num_workers=10, max_num_queued=50, duration_s=2000, seed=1)
    assert waiting.refused == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.6482, "0.648"), (5.08, "5.08"), (21739.1, "21,739")]
)
def test_numbers_have_three_significant_digits(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize("change", ["num_gpu=8", "num_gpus", "num_gpus=many"])
def test_a_wrong_change_is_told_in_one_line(change):
    done = subprocess.run(
        [sys.executable, "-m", "infra.scale", change],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("scale: ")
    assert done.stderr.count("\n") == 1
