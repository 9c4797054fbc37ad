import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lia_model.settings import TrainSettings
from pipelines.local.service_definitions import RAY_HEAD_VARIABLES
from tests.drills.drilled_training import LOG_EVERY_STEPS, NUM_STEPS, Drill
from tests.ports import free_ports

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster


@pytest.fixture(scope="session")
def drill_folder() -> Path:
    """Where drills leave what they found: beside the logs of `make drill`."""
    folder = Path(__file__).parents[2] / "runs" / "drills"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def train_settings() -> TrainSettings:
    """The small training of the tests."""
    from tests.lia_model.conftest import train_settings

    return train_settings.__wrapped__()


@pytest.fixture
def settings(train_settings):
    return train_settings.model_dump(mode="json") | {
        "num_workers": 2,
        "micro_batch_size": 2,
        "num_steps": NUM_STEPS,
        "log_every_steps": LOG_EVERY_STEPS,
        "strip_every_steps": 20,
        "checkpoint_every_steps": 10,
        "milestone_every_steps": 30,
    }


@pytest.fixture
def drill(tmp_path, drill_folder, request):
    log = drill_folder / f"{request.node.name}.log"
    log.unlink(missing_ok=True)
    return Drill(tmp_path, log)


@pytest.fixture
def undisturbed(tmp_path_factory, settings):
    """The losses of the same training without faults."""
    folder = tmp_path_factory.mktemp("undisturbed")
    drill = Drill(folder, folder / "log")
    drill.prepare(settings)
    drill.finish(drill.start())
    return drill.losses()


@pytest.fixture
def new_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], "Cluster"]]:
    """Function that starts a Ray cluster, whose head has this many CPUs and to which nodes can be added."""
    from ray.cluster_utils import Cluster

    started = []

    def start(num_head_cpus: int) -> Cluster:
        # Ray writes a cluster's address there, but does not create the folder; its sockets need a short path.
        monkeypatch.setenv("RAY_TMPDIR", tempfile.mkdtemp(prefix="ray-"))
        for name, value in RAY_HEAD_VARIABLES.items():
            monkeypatch.setenv(name, value)
        # Ray looks whether the port is free even without a dashboard, and leaves a socket open if it is not.
        dashboard = {"include_dashboard": False, "dashboard_port": free_ports(1)[0]}
        head = {"num_cpus": num_head_cpus} | dashboard
        started.append(Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=True))
        return started[-1]

    yield start
    for cluster in started:
        cluster.shutdown()
