from dataclasses import replace
from pathlib import Path

import pytest

from lia_model.animation.options import AnimationOptions
from lia_model.serving.jobs.job import Order, count, summarize
from lia_model.serving.messages import JobStatus, ModelVersion

ORDER = Order(Path("a"), Path("b"), Path("c"), AnimationOptions(), ModelVersion(name="lia", version="1"))


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("queued queued", "queued"),
        ("queued failed", "running"),
        ("running succeeded", "running"),
        ("succeeded succeeded", "succeeded"),
        ("succeeded failed cancelled", "failed"),
        ("succeeded cancelled", "cancelled"),
    ],
)
def test_a_batch_is_summed_up_by_one_status(statuses, expected):
    counts = count([JobStatus(status) for status in statuses.split()])
    assert sum(counts.values()) == len(statuses.split())
    assert summarize(counts) == expected


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({}, True),
        ({"model": ModelVersion(name="lia", version="2")}, True),
        ({"source": Path("x")}, False),
        ({"driving": Path("x")}, False),
        ({"output": Path("x")}, False),
        ({"options": AnimationOptions(mode="absolute")}, False),
    ],
)
def test_orders_ask_for_the_same_if_only_the_model_differs(change, is_same):
    assert ORDER.asks_for_the_same_as(replace(ORDER, **change)) is is_same
