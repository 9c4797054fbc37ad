"""A program that starts Ray on this machine and runs a unit of sources and a training of one worker.

The training ends once the file STOP exists.

    python -m tests.infra.busy_cluster METRICS_PORT DASHBOARD_PORT HOME STOP
"""

import sys
import time
from pathlib import Path

import ray
from ray.train import ScalingConfig, report
from ray.train.torch import TorchTrainer

from pipelines.local.cluster import _process_unit


def main():
    port, dashboard_port, home, stop = sys.argv[1:]
    ray.init(
        address="local",
        num_cpus=4,
        dashboard_host="127.0.0.1",
        dashboard_port=int(dashboard_port),
        log_to_driver=False,
        _metrics_export_port=int(port),
        _node_ip_address="127.0.0.1",
        _system_config={"metrics_report_interval_ms": 1000},
        _temp_dir=home,
    )

    def train():
        while not Path(stop).exists():
            report({})
            time.sleep(0.5)

    ray.get(_process_unit.remote([]))
    TorchTrainer(train, scaling_config=ScalingConfig(num_workers=1)).fit()
    # The test ends it, once the metrics of the end were read.
    time.sleep(600)


if __name__ == "__main__":
    main()
