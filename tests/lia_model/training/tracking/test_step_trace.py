import gzip
import json

import numpy as np
import pytest
import torch

from lia_model.data.sharded_clips import ShardedClips
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.state import new_state
from lia_model.training.tracking.step_trace import (
    NUM_RECORDED_STEPS,
    NUM_WARM_UP_STEPS,
    StepTrace,
    require_steps,
)
from tests.lia_model.shards_on_disk import write_shards

CPU = torch.device("cpu")


@pytest.fixture
def trained(tmp_path, train_settings):
    """Return a function that trains, with a trace or without, and returns the weights and the traces."""
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    write_shards(tmp_path / "shards", {"train": [frames]}, 32)

    def train(num_steps, *, with_trace=True):
        traces = {}
        settings = train_settings.model_copy(update={"num_steps": num_steps})
        trace = StepTrace(num_steps, lambda path, name: traces.update({name: read(path)}))
        state = new_state(settings, 32, CPU)
        loader = build_loader(ShardedClips(tmp_path / "shards", "train"), settings)
        run(state, loader, settings, Hooks(on_step=trace.after_step) if with_trace else Hooks())
        return list(state.generator.parameters()), traces

    return train


def read(path):
    with gzip.open(path, "rt") as file:
        return json.load(file)


def times_of(trace, label):
    return sum(event.get("name") == label and event.get("ph") == "X" for event in trace["traceEvents"])


def test_the_steps_after_the_warm_up_are_recorded_by_their_parts(trained):
    num_steps = NUM_WARM_UP_STEPS + NUM_RECORDED_STEPS + 2
    _, traces = trained(num_steps)
    (trace,) = traces.values()
    assert list(traces) == ["steps-00000006-00000017.json.gz"]
    for label in ("wait for data", "generator, forward", "loss l1", "optimizer", "average"):
        per_step = 2 if label == "optimizer" else 1
        assert times_of(trace, label) == per_step * NUM_RECORDED_STEPS, label
    assert times_of(trace, "aten::convolution_backward") > NUM_RECORDED_STEPS


def test_a_run_that_ends_early_records_its_last_steps(trained):
    _, traces = trained(NUM_WARM_UP_STEPS + 1)
    ((name, trace),) = traces.items()
    assert name == "steps-00000006-00000006.json.gz"
    assert times_of(trace, "generator, forward") == 1
    assert trained(NUM_WARM_UP_STEPS)[1] == {}


def test_a_trace_changes_no_weight(trained):
    with_trace, without = (trained(8, with_trace=each)[0] for each in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(with_trace, without, strict=True))


def test_a_run_with_too_few_steps_left_is_refused():
    require_steps(4, 10)
    with pytest.raises(ValueError, match=r"^got --profile with 5 steps left of 10; a trace needs 6: raise "):
        require_steps(5, 10)
