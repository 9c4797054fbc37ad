import multiprocessing

import pytest
import torch
from torch import distributed

from lia_model.training.tracking.rank_metrics import Machine, joined, parse_gpu
from tests.ports import free_ports

CPU = torch.device("cpu")


def test_one_rank_keeps_its_metrics_and_names_its_machine_plainly():
    metrics = {"loss/l1": 0.5, "speed/pairs_per_s": 4.0}
    found = joined(metrics, {"cpu_percent": 7.0}, num_pairs=4)
    assert found == metrics | {"system/num_workers": 1.0, "system/cpu_percent": 7.0}


def _report(rank, port, queue):
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    own = {"loss/l1": 0.5 + rank, "speed/pairs_per_s": 4.0 + rank, "speed/data_wait_share": 0.1 * (rank + 1)}
    # As of three micro-batches of four pairs.
    queue.put((rank, joined(own, {"cpu_percent": 10.0 * rank}, num_pairs=8 - 4 * rank)))
    distributed.destroy_process_group()


def test_two_ranks_give_the_mean_losses_of_all_pairs_their_sum_and_the_longest_wait():
    context = multiprocessing.get_context("spawn")
    queue, (port,) = context.Queue(), free_ports(1)
    ranks = [context.Process(target=_report, args=(rank, port, queue)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    told = dict(queue.get(timeout=60) for _ in ranks)
    for rank in ranks:
        rank.join()
    assert told[0] == told[1]
    assert told[0] == {
        "loss/l1": pytest.approx((2 * 0.5 + 1.5) / 3),
        "speed/pairs_per_s": 9.0,
        "speed/data_wait_share": pytest.approx(0.2),
        "system/num_workers": 2.0,
        "system/rank_0/cpu_percent": 0.0,
        "system/rank_1/cpu_percent": 10.0,
    }


def test_a_machine_is_measured_in_gb_and_percent():
    measured = Machine(CPU).measure()
    assert 0 < measured["process_memory_gb"] < measured["memory_used_gb"] + 64
    assert 0 <= measured["cpu_percent"] <= 100


def test_what_a_gpu_does_not_measure_is_left_out():
    assert parse_gpu("97, 612.50, [N/A]\n") == {"gpu_utilization_percent": 97.0, "gpu_power_w": 612.5}
