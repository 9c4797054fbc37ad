import pytest

from pipelines.local.logical_cpus import num_logical_cpus


@pytest.mark.parametrize(("cores", "expected"), [(None, 4), (1, 4), (2, 4), (4, 4), (64, 64)])
def test_ray_sees_every_core_and_never_fewer_than_four(monkeypatch, cores, expected) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert num_logical_cpus() == expected
