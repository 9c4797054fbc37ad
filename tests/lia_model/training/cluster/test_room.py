import pytest

from lia_model.training.cluster import room
from lia_model.training.cluster.room import Wanted, wait_for_room


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(room, "POLL_S", 0.01)


def test_a_worker_fits_on_one_node_alone():
    wanted = Wanted(2, {"CPU": 2})
    assert wanted.num_fitting([node(CPU=3.0), node(CPU=3.0)]) == 2
    assert wanted.num_fitting([node(CPU=1.0), node(CPU=5.0), node(alive=False, CPU=64.0)]) == 2


def test_what_a_cluster_lacks_is_named_with_what_was_asked():
    wanted = Wanted(4, {"CPU": 1, "GPU": 1})
    with pytest.raises(ValueError, match="lower train") as error:
        wait_for_room(wanted, lambda: [node(CPU=16.0, GPU=2.0), node(CPU=2.0)], timeout_s=0)
    assert str(error.value).startswith(
        "the training asks for 4 workers of 1 CPU and 1 GPU; the cluster has 18 CPU and 2 GPU on 2 nodes, "
        "room for 2: "
    )


def test_nodes_that_join_in_time_are_enough():
    clusters = iter([[], [node(CPU=1.0)], [node(CPU=1.0), node(CPU=1.0)]])
    wait_for_room(Wanted(2, {"CPU": 1}), lambda: next(clusters), timeout_s=30)
    assert next(clusters, None) is None
