import pytest

from tests.benchmarks.cluster.ray_overhead import seconds_a_step


def test_steps_between_two_reports_are_taken_as_even():
    reports = [(10.0, 4), (14.0, 8), (22.0, 12)]
    assert seconds_a_step(reports, [10.0, 14.0, 22.0]) == pytest.approx([1.0, 2.0])
    assert seconds_a_step(reports, [12.0, 18.0]) == pytest.approx([6 / 4])
