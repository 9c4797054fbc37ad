"""The machine side of a run: addresses, ports, homes and tokens, read once from LIA_* variables.

`read_environment` is the only reader of those variables; everything is made absolute and handed down. What
the tools underneath (Prefect, MLflow, Ray, DVC) read themselves comes out of `Environment.tool_variables`, so
that they keep their homes inside the project and stay quiet.
"""

import difflib
import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.process import live_record

if TYPE_CHECKING:
    from preprocessing.storage.object_store import Store

logger = logging.getLogger(__name__)

Port = Annotated[int, Field(ge=1, le=65535)]

# Ray appends /session_<date>_<time>_<microseconds>_<pid>/sockets/plasma_store (at most 66 bytes) to its temp
# folder, and a unix socket's path ends at 107 bytes.
_LONGEST_RAY_HOME_BYTES = 107 - 66


class Environment(BaseModel):
    """Where this project lives on this machine and which services it talks to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    """Project folder: the nearest folder upwards that holds params.yaml."""
    host: str = "127.0.0.1"
    """Address our own services bind: loopback, always."""
    samples_port: Port = 8790
    """LIA_SAMPLES_PORT: where the demo serves its sample clips; part of their URLs, hence of their keys."""
    prefect_port: Port = 4200
    """LIA_PREFECT_PORT: our own Prefect server."""
    mlflow_port: Port = 5000
    """LIA_MLFLOW_PORT: our own MLflow UI."""
    ray_port: Port = 6379
    """LIA_RAY_PORT: our own Ray head."""
    ray_dashboard_port: Port = 8265
    """LIA_RAY_DASHBOARD_PORT: its dashboard."""
    serve_port: Port = 8000
    """LIA_SERVE_PORT: the animation service."""
    api_token: str | None = Field(default=None, repr=False)
    """LIA_API_TOKEN: bearer token of the animation service; None serves loopback only."""
    prefect_api_url: str | None = None
    """LIA_PREFECT_API_URL, or our own server's while it runs; None starts a private one for each flow."""
    mlflow_tracking_uri: str
    """LIA_MLFLOW_TRACKING_URI, or the project's sqlite file."""
    ray_address: str | None = None
    """LIA_RAY_ADDRESS, or our own head's while it runs; None starts a private one for each run."""
    store_url: str | None = None
    """LIA_STORE_URL, such as s3://bucket/folder: where raw videos, clips and shards are kept too, so that
    another machine goes on from there; None keeps them here alone."""
    ray_auth_mode: str = "disabled"
    """LIA_RAY_AUTH_MODE, `disabled` or `token`: Ray's own authentication; our head is on loopback."""

    @property
    def tombstones(self) -> Path:
        """What was taken down; in git, written by `lia forget`."""
        return self.root / "data" / "tombstones.csv"

    @property
    def raw(self) -> Path:
        """Downloaded videos."""
        return self.root / "data" / "raw"

    @property
    def tracks(self) -> Path:
        """Faces seen in each source, one file a source."""
        return self.root / "data" / "tracks"

    @property
    def clips(self) -> Path:
        """Cut clips, one folder a source, from which shards are packed."""
        return self.root / "data" / "clips"

    @property
    def shards(self) -> Path:
        """Face-cropped training shards and their manifest."""
        return self.root / "data" / "shards"

    @property
    def source_ledger(self) -> Path:
        """Return the table of sources; written by the stage download."""
        return self.ledger / "sources.parquet"

    @property
    def ledger(self) -> Path:
        """What became of every source and clip."""
        return self.root / "data" / "ledger"

    @property
    def samples(self) -> Path:
        """Sample clips that `lia fetch samples` writes."""
        return self.root / "data" / "samples"

    @property
    def models(self) -> Path:
        """Detector and feature networks that `lia fetch models` writes."""
        return self.root / "models"

    @property
    def metrics(self) -> Path:
        """Numbers and plots for `dvc metrics` and `dvc plots`."""
        return self.root / "metrics"

    @property
    def checkpoints(self) -> Path:
        """Training checkpoints; `final` is the trained model."""
        return self.root / "checkpoints"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifact store."""
        return self.root / "mlartifacts"

    @property
    def runs(self) -> Path:
        """Homes of the tools, logs, and Ray's storage."""
        return self.root / "runs"

    @property
    def services(self) -> Path:
        """Records and logs of the services `lia up` started."""
        return self.runs / "services"

    @property
    def ray_home(self) -> Path:
        """Ray's temp folder: in the project, or in the system's where the project's path is too long."""
        home = self.runs / "ray"
        if len(os.fsencode(home)) <= _LONGEST_RAY_HOME_BYTES:
            return home
        mark = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]
        return Path(tempfile.gettempdir()) / f"lia-{mark}" / "ray"

    def ports(self) -> set[int]:
        """Return every configured port."""
        return {getattr(self, field) for field in type(self).model_fields if field.endswith("_port")}

    def store(self) -> "Store | None":
        """Return the store, or None where there is none.

        Raises:
            StoreError: fsspec does not know such an address.
        """
        from preprocessing.storage.object_store import Store

        return None if self.store_url is None else Store(self.store_url)

    def check_store(self) -> None:
        """Read something of the store, where there is one, before work begins that would end in vain.

        Raises:
            StoreError: it cannot be read.
        """
        store = self.store()
        if store is not None:
            store.check()

    def tool_variables(self) -> dict[str, str]:
        """Return the variables that the tools underneath read: homes, addresses, and no telemetry."""
        variables = {
            "PREFECT_HOME": str(self.runs / "prefect"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "MLFLOW_TRACKING_URI": self.mlflow_tracking_uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "RAY_AUTH_MODE": self.ray_auth_mode,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self.ray_home.parent),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.runs / "dvc"),
            "MPLCONFIGDIR": str(self.runs / "matplotlib"),
            "OMP_WAIT_POLICY": "passive",
            "DO_NOT_TRACK": "1",
        }
        if self.prefect_api_url is not None:
            variables["PREFECT_API_URL"] = self.prefect_api_url
        if self.ray_address is not None:
            variables["RAY_ADDRESS"] = self.ray_address
        return variables

    def activate(self) -> None:
        """Put `tool_variables` into this process; call before any of the tools is imported.

        An address left over from another project is removed, so that no run lands in a foreign server.
        """
        for name in ("PREFECT_API_URL", "RAY_ADDRESS"):
            os.environ.pop(name, None)
        os.environ.update(self.tool_variables())
        # Prefect's private server opens its database there without making the folder.
        (self.runs / "prefect").mkdir(parents=True, exist_ok=True)


_FROM_VARIABLES = (
    "samples_port",
    "prefect_port",
    "mlflow_port",
    "ray_port",
    "ray_dashboard_port",
    "serve_port",
    "api_token",
    "prefect_api_url",
    "mlflow_tracking_uri",
    "ray_address",
    "ray_auth_mode",
    "store_url",
)


def variable_name(field: str) -> str:
    """Return the variable that sets `field` of `Environment`, such as LIA_SERVE_PORT."""
    return f"LIA_{field.upper()}"


def find_root(cwd: Path) -> Path:
    """Return the nearest folder from `cwd` upwards that holds params.yaml.

    Raises:
        ValueError: there is none.
    """
    cwd = cwd.resolve()
    for folder in (cwd, *cwd.parents):
        if (folder / "params.yaml").is_file():
            return folder
    raise ValueError(f"no params.yaml in {cwd} or a folder above it: run lia inside the project's checkout")


def read_environment(cwd: Path, variables: Mapping[str, str] | None = None) -> Environment:
    """Read LIA_* from `variables` (None: the process's own) for the project around `cwd`.

    Raises:
        ValueError: `cwd` is in no project, or a variable's value is not allowed.
    """
    variables = os.environ if variables is None else variables
    root = find_root(cwd)
    given = {
        field: variables[variable_name(field)]
        for field in _FROM_VARIABLES
        if variables.get(variable_name(field))
    }
    _warn_of_unknown(variables)
    services = root / "runs" / "services"
    for field, name in (("prefect_api_url", "prefect"), ("ray_address", "ray")):
        record = live_record(services / f"{name}.json")
        if record is not None:
            given.setdefault(field, record.address)
    given.setdefault("mlflow_tracking_uri", f"sqlite:///{root / 'mlflow.db'}")
    try:
        return Environment.model_validate({"root": root, **given})
    except ValidationError as error:
        first = error.errors()[0]
        name = variable_name(str(first["loc"][0]))
        raise ValueError(
            f"{name} is {first['input']!r}: {first['msg']}; set another value or unset it"
        ) from None


def _warn_of_unknown(variables: Mapping[str, str]) -> None:
    known = [variable_name(field) for field in _FROM_VARIABLES]
    for name in variables:
        if name.startswith("LIA_") and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            logger.warning("%s is set, but nothing reads it%s", name, hint)
