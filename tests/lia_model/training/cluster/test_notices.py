import ray

from lia_model.training.cluster import notices
from lia_model.training.cluster.notices import RoomForMore
from lia_model.training.cluster.room import Wanted
from lia_model.training.data_parallel import DataParallel


def cluster_of(monkeypatch):
    """List of the CPUs of the nodes that are alive, which a test changes."""
    cpus = [1]
    monkeypatch.setattr(
        notices.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": count}} for count in cpus]
    )
    return cpus


def test_every_node_that_an_elastic_run_can_use_is_told_once(monkeypatch):
    cpus = cluster_of(monkeypatch)
    room = RoomForMore(Wanted(1, {"CPU": 1}), DataParallel(0, 1), max_num_workers=3)
    assert not room()
    cpus.append(1)
    assert [room(), room()] == [True, False]
    cpus.append(4)
    assert [room(), room()] == [True, False]
    # More than the run may have.
    cpus.append(1)
    assert not room()


def test_a_node_that_left_and_returned_is_told_again(monkeypatch):
    cpus = cluster_of(monkeypatch)
    cpus.append(1)
    room = RoomForMore(Wanted(1, {"CPU": 1}), DataParallel(0, 1), max_num_workers=2)
    assert room()
    cpus.pop()
    assert not room()
    cpus.append(1)
    assert room()


def test_a_run_that_cannot_grow_does_not_ask(monkeypatch):
    monkeypatch.delattr(ray, "nodes")
    assert not RoomForMore(Wanted(2, {"CPU": 1}), DataParallel(0, 2), max_num_workers=2)()
