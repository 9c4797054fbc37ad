"""OpenLineage events of a stage: START, then COMPLETE, FAIL or ABORT, with the data that it reads and writes.

Off unless OpenLineage's own configuration names a transport: OPENLINEAGE_URL, OPENLINEAGE_CONFIG,
OPENLINEAGE__TRANSPORT__*, or an openlineage.yml in the project or in ~/.openlineage. Events are sent by a
thread, and no stage fails for a transport that does: what could not be sent is one warning. The only module
that imports openlineage-python.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.environment import Environment
from pipelines.params import Params
from pipelines.stages.lineage_datasets import DataSet, StageData
from preprocessing.download.credentials import mask_credentials

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import DatasetFacet, JobFacet, OutputDatasetFacet, RunFacet

PATIENCE_S = 4.0
"""How long the end of a stage waits for its events to be sent."""
_PRODUCER = "urn:open-lia:pipelines"
_CONFIGURATION = "openlineage.yml"

logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """How a stage ended; the stage's command fills it in."""

    exit_code: int = 0
    """Other than 0 if the stage is incomplete."""
    model_uri: str | None = None
    """URI of the version that the stage registered."""


@contextmanager
def lineage_events(
    stage: str, params: Params, environment: Environment, run_id: str | None = None
) -> Iterator[Outcome]:
    """Send events at the start and the end of the block, which runs a stage and fills in its outcome.

    Args:
        stage: its name.
        params: of the project.
        environment: of the project.
        run_id: run whose model is released; None for that of checkpoints/final.
    """
    outcome = Outcome()
    client = configured_client(environment.paths.root, os.environ)
    if client is None:
        yield outcome
        return
    from openlineage.client.event_v2 import RunState

    data = StageData(params, environment, run_id)
    events = _StageEvents(stage, data)
    sender = _Sender(client)
    sender.send(events.event(RunState.START))
    try:
        yield outcome
    except BaseException as error:
        state = RunState.FAIL if isinstance(error, Exception) else RunState.ABORT
        sender.send(events.event(state, error=str(error) or type(error).__name__))
        raise
    else:
        if outcome.exit_code:
            sender.send(events.event(RunState.FAIL, error="incomplete: a rerun may succeed for some sources"))
        else:
            outputs = data.outputs(stage, outcome.model_uri)
            sender.send(events.event(RunState.COMPLETE, outputs=outputs))
    finally:
        sender.close(PATIENCE_S)


def configured_client(root: Path, variables: Mapping[str, str]) -> OpenLineageClient | None:
    """Return a client if OpenLineage is configured for the project at `root`; None, maybe with a warning."""
    if not _is_configured(root, variables):
        return None
    # Its remarks on a configuration would come on top of ours.
    logging.getLogger("openlineage").setLevel(logging.CRITICAL)
    try:
        from openlineage.client import OpenLineageClient
        from openlineage.client.event_v2 import set_producer
    except ImportError:
        logger.warning(
            "OpenLineage is configured, but no events are sent: install it with `pip install '.[lineage]'`"
        )
        return None
    try:
        client = OpenLineageClient()
        if not client.config.transport and not variables.get("OPENLINEAGE_URL"):
            raise ValueError("no transport is named; set OPENLINEAGE_URL, or `transport` in openlineage.yml")
    except Exception as error:  # noqa: BLE001 - each transport has errors of its own
        logger.warning("OpenLineage's configuration is not usable, no events are sent: %s", _line(error))
        return None
    set_producer(_PRODUCER)
    return client


def _is_configured(root: Path, variables: Mapping[str, str]) -> bool:
    if variables.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    named = any(variables.get(name) for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG"))
    files = (root / _CONFIGURATION, Path("~/.openlineage").expanduser() / _CONFIGURATION)
    is_nested = any(name.startswith("OPENLINEAGE__TRANSPORT") for name in variables)
    return named or is_nested or any(file.is_file() for file in files)


class _Sender:
    """Sends events in their order from a thread, so that no stage waits for it."""

    def __init__(self, client: OpenLineageClient) -> None:
        self._client = client
        self._waiting: queue.SimpleQueue[RunEvent | None] = queue.SimpleQueue()
        self._has_warned = False
        # A daemon, so that a process does not wait for a server that does not answer.
        self._thread = threading.Thread(target=self._emit_all, name="lineage events", daemon=True)
        self._thread.start()

    def send(self, event: RunEvent) -> None:
        """Hand an event over."""
        self._waiting.put(event)

    def close(self, patience_s: float) -> None:
        """Wait until all is sent, for so many seconds at most."""
        self._waiting.put(None)
        self._thread.join(patience_s)
        if self._thread.is_alive():
            self._warn(f"no answer within {patience_s:g} s of the stage's end")

    def _emit_all(self) -> None:
        for event in iter(self._waiting.get, None):
            try:
                self._client.emit(event)
            except Exception as error:  # noqa: BLE001 - each transport has errors of its own
                self._warn(_line(error))
        self._client.close(PATIENCE_S)

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("OpenLineage lacks events of this run, which goes on: %s", reason)


class _StageEvents:
    """Makes the events of one run of a stage."""

    def __init__(self, stage: str, data: StageData) -> None:
        from openlineage.client.uuid import generate_new_uuid

        # Inside, so that a stage without events does not load torch for it.
        from lia_model.training.provenance import described_commit

        root = data.environment.paths.root
        self._stage, self._data = stage, data
        self._namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or root.name
        self._run_id = str(generate_new_uuid())
        self._commit = described_commit(root)
        self._repository = _repository(root)

    def event(
        self, state: RunState, *, outputs: Sequence[DataSet] = (), error: str | None = None
    ) -> RunEvent:
        """Return the event of a state, at this moment."""
        from openlineage.client.event_v2 import RunEvent

        return RunEvent(
            eventType=state,
            eventTime=datetime.now(UTC).isoformat(),
            run=self._run(error),
            job=self._job(),
            # Again at the end: a stage may fetch what it reads.
            inputs=[self._input(one) for one in self._data.inputs(self._stage)],
            outputs=[self._output(one) for one in outputs],
        )

    def _run(self, error: str | None) -> Run:
        from openlineage.client.event_v2 import Run
        from openlineage.client.facet_v2 import error_message_run, tags_run

        settings = getattr(self._data.params, self._stage).model_dump_json()
        tags = {
            "commit": self._commit,
            "params_sha256": sha256(settings.encode()).hexdigest(),
            "correlation_id": self._data.environment.correlation_id,
        }
        fields = [tags_run.TagsRunFacetFields(key, value, "LIA") for key, value in tags.items()]
        facets: dict[str, RunFacet] = {"tags": tags_run.TagsRunFacet(fields)}
        if error is not None:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(_masked(error), "python")
        return Run(self._run_id, facets)

    def _job(self) -> Job:
        from openlineage.client.event_v2 import Job
        from openlineage.client.facet_v2 import job_type_job, source_code_location_job

        facets: dict[str, JobFacet] = {"jobType": job_type_job.JobTypeJobFacet("BATCH", "LIA", "STAGE")}
        if self._repository is not None:
            # The client would add it by itself, with the credentials in the repository's address.
            facets["sourceCodeLocation"] = source_code_location_job.SourceCodeLocationJobFacet(
                type="git",
                url=self._repository,
                repoUrl=self._repository,
                version=self._commit.removesuffix("-dirty"),
            )
        return Job(self._namespace, self._stage, facets)

    def _input(self, one: DataSet) -> InputDataset:
        from openlineage.client.event_v2 import InputDataset

        return InputDataset(self._namespace, one.name, facets=_dataset_facets(one))

    def _output(self, one: DataSet) -> OutputDataset:
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

        facet = statistics.OutputStatisticsOutputDatasetFacet(one.num_rows, one.num_bytes, one.num_files)
        counted: dict[str, OutputDatasetFacet] = {} if one.num_files is None else {"outputStatistics": facet}
        return OutputDataset(self._namespace, one.name, facets=_dataset_facets(one), outputFacets=counted)


def _dataset_facets(one: DataSet) -> dict[str, DatasetFacet]:
    from openlineage.client.facet_v2 import dataset_version_dataset, datasource_dataset

    facets: dict[str, DatasetFacet] = {
        "dataSource": datasource_dataset.DatasourceDatasetFacet(name=one.place, uri=one.place)
    }
    if one.version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(one.version)
    return facets


def _repository(root: Path) -> str | None:
    """Return the address of the checkout's `origin` without credentials; None if it has none."""
    command = ["git", "-C", str(root), "config", "--get", "remote.origin.url"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return None
    return mask_credentials(found) or None


def _masked(text: str) -> str:
    return mask_credentials(" ".join(text.split()))


def _line(error: Exception) -> str:
    return _masked(f"{type(error).__name__}: {error}")
