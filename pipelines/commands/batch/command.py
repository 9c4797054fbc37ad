"""Chooses who animates a batch: a service, or without one, Ray on this machine or on a cluster."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lia_model.registry.aliases import champion_uri
from lia_model.serving.client import Client
from lia_model.serving.client.errors import NoServiceError
from pipelines.commands.batch.online import run_online
from pipelines.commands.batch.places import Downloads, is_url
from pipelines.commands.batch.rows import BatchRow, read_batch
from pipelines.environment import Environment
from pipelines.params import Params

logger = logging.getLogger(__name__)


def run_batch(
    manifest: str,
    output: str,
    params: Params,
    environment: Environment,
    endpoint: str | None = None,
    model: str | None = None,
) -> int:
    """Animate every row of `manifest` and write `output`/results.csv.

    Args:
        manifest: path or URL of the CSV file; see `read_batch`.
        output: folder or URL for the videos and results.csv.
        params: of the project.
        environment: of the project.
        endpoint: URL of a service. None takes the project's own if it answers and all files are on a disk,
            and animates without a service otherwise.
        model: animates without a service, by this model; None is the champion.

    Returns:
        0 if every row has its video, else 1.

    Raises:
        ValueError: the manifest is missing or invalid, a model and a service are given, the model is missing,
            or a row without a service names one of its own; a bad line only fails its own row.
        NoServiceError: no service answers at the endpoint, it is another project's, or it refuses the token.
        StoreError: the object store cannot be read or written.
        OfflineBatchError: Ray ended the work.
    """
    if endpoint is not None and model is not None:
        raise ValueError(
            f"got the model {model} and the service at {endpoint}, which animates with its own: leave out "
            "--model or --endpoint"
        )
    rows = open_batch(manifest)
    if endpoint is not None:
        return run_online(
            rows, output, endpoint, environment.api_token, correlation_id=environment.correlation_id
        )
    own = f"http://{environment.host}:{environment.serve_port}"
    places = (output, *(place for row in rows for place in (row.source, row.driving)))
    if model is None and not any(map(is_url, places)):
        if _answers(own):
            root, work = environment.paths.root, environment.correlation_id
            return run_online(rows, output, own, environment.api_token, root, work)
        logger.info("no service answers at %s", own)
    _require_one_model(rows)
    # Here, since they import Ray.
    from pipelines.commands.batch.offline import run_offline
    from pipelines.local.cluster import connected

    cluster = connected(
        environment.ray_address, environment.paths.ray_home, environment.host, environment.correlation_id
    )
    model = model or champion_uri(params.release.name)
    return run_offline(rows, output, params, environment, model, cluster)


def _require_one_model(rows: Sequence[BatchRow]) -> None:
    """Require that no row asks for what only a service can do."""
    for row in rows:
        if row.model:
            raise ValueError(
                f"got the model {row.model} in a row, which only a service takes: give --endpoint, or leave "
                "out the column and give --model"
            )
    if any(row.priority for row in rows):
        logger.warning("without a service the rows are animated in their order, whatever their priority")


def open_batch(manifest: str) -> list[BatchRow]:
    """Read the rows of a CSV file on a disk or in an object store.

    Raises:
        ValueError: it is missing or invalid.
        StoreError: the object store cannot be read.
    """
    if not is_url(manifest):
        return read_batch(Path(manifest))
    with tempfile.TemporaryDirectory() as folder:
        return read_batch(Downloads(Path(folder)).local(manifest), manifest.rpartition("/")[0])


def _answers(url: str) -> bool:
    with Client(url) as client:
        try:
            client.project()
        except NoServiceError:
            return False
    return True
