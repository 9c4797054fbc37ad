"""A small training under Ray as a program of its own, for drills that kill it.

The argument is a folder with `drill.json`: the settings of the training and the cluster. The exit code is 0
if the training reached its last step, and 3 if an error of ours, whose line is the last one, ended it.
"""

import json
import logging
import os
import sys
from pathlib import Path

import ray

from lia_model.registry.run_sender import RunOpening, RunSender, TrackingError, sending
from lia_model.settings import TrainSettings
from lia_model.training.cluster.failures import FullDiskError, RepeatedFailureError
from lia_model.training.cluster.run_storage import RunStorage
from lia_model.training.cluster.worker import Fit, fit
from lia_model.training.stop import TrainingStopped
from preprocessing.shards.manifest import data_digest, read_manifest

ENDED = 3

log = logging.getLogger("drill")


def main(folder: Path) -> int:
    """Train as `drill.json` says, or go on."""
    drill = json.loads((folder / "drill.json").read_text())
    os.environ["MLFLOW_TRACKING_URI"] = drill["tracking_uri"]
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if drill["ray_address"] is None:
        cluster = {"num_cpus": 4, "_temp_dir": drill["ray_home"], "_node_ip_address": "127.0.0.1"}
    else:
        cluster = {"address": drill["ray_address"]}
    ray.init(log_to_driver=False, include_dashboard=False, **cluster)
    sender = RunSender(folder / "journal")
    sender.describe(RunOpening(name="drill", artifacts=str(folder / "artifacts"), params={}, tags={}))
    work = Fit(
        settings=TrainSettings.model_validate(drill["settings"]),
        shards=folder / "shards",
        data_digest=drill.get("data_digest") or data_digest(read_manifest(folder / "shards")),
        store_url=drill.get("store_url"),
        storage=RunStorage(drill["storage"], "run"),
        result=folder / "result",
        provenance={},
        journal=folder / "journal",
    )
    try:
        with sending(lambda: [sender]):
            log.info("trained: %s", fit(work))
    finally:
        sender.finish("FINISHED" if sys.exc_info()[0] is None else "FAILED")
        try:
            sender.send()
        except TrackingError as error:
            log.info("waiting: %d lines, for %s", sender.num_waiting(), error)
    return 0


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        sys.exit(main(Path(sys.argv[1])))
    except (ValueError, FullDiskError, RepeatedFailureError, TrainingStopped) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        sys.exit(ENDED)
