"""A batch as a Ray job: `ray job submit -- python -m pipelines.commands.batch.job MANIFEST --output DIR`.

It goes on when who submitted it disconnects, and animates on the cluster that it was submitted to. All
machines have the project at one path, with the models in it; videos and results may be in an object store.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from lia_model.registry.aliases import champion_uri
from pipelines.commands.batch.command import open_batch
from pipelines.commands.batch.offline import run_offline
from pipelines.environment import read_environment
from pipelines.local.cluster import joined
from pipelines.params import read_params


def main() -> int:
    """Animate the batch; return the job's exit code, as of `lia batch`."""
    parser = argparse.ArgumentParser(description="Animate a batch on the Ray cluster of this job.")
    parser.add_argument("manifest", help="path or s3:// URL of the CSV file")
    parser.add_argument("-o", "--output", required=True, help="folder or s3:// URL")
    parser.add_argument("--model", help="checkpoint directory or models:/ URI; default: the champion")
    parser.add_argument("--project", type=Path, default=Path.cwd(), help="folder of the project")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    address = os.environ["RAY_ADDRESS"]
    environment = read_environment(given.project).model_copy(update={"ray_address": address})
    environment.activate()
    params = read_params(environment.paths.root / "params.yaml")
    return run_offline(
        open_batch(given.manifest),
        given.output,
        params,
        environment,
        given.model or champion_uri(params.release.name),
        joined(address),
    )


if __name__ == "__main__":
    sys.exit(main())
