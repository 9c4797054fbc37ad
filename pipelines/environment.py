"""The machine side of a run: addresses, ports and tokens, read once from LIA_* variables.

`read_environment` is the only reader of those variables; commands and stages hand the values on. The tools
underneath (Prefect, MLflow, Ray, DVC) get theirs from `Environment.tool_variables`, so that they keep their
homes inside the project and stay quiet.
"""

import difflib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from lia_model.registry.locations import adopt_artifacts
from lia_model.registry.tracking_variables import tracking_variables
from pipelines.process import live_record, record_path
from pipelines.project_paths import ProjectPaths, find_root
from pipelines.ray_token import ensure_ray_token
from preprocessing.correlation import CORRELATION_VARIABLE, CorrelationId, new_correlation_id
from preprocessing.download.credentials import mask_credentials

if TYPE_CHECKING:
    from preprocessing.storage.object_store import Store

logger = logging.getLogger(__name__)

Port = Annotated[int, Field(ge=1, le=65535)]
_PREFIX = "LIA_"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DATABASE_TIMEOUT_S = 30
"""How long MLflow waits for a process that writes to its file."""


def _without_password(url: str) -> str:
    if mask_credentials(url) != url:
        raise ValueError("it holds credentials, which go into AWS_* or fsspec's own configuration")
    return url


class Environment(BaseSettings):
    """Where this project lives on this machine and which services it talks to."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid")

    host: ClassVar[str] = "127.0.0.1"
    """Address our own services bind: loopback, always."""
    paths: ProjectPaths
    """Files and folders of the project; no variable sets them."""
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
    database_url: str | None = Field(default=None, repr=False)
    """LIA_DATABASE_URL: URL of the animation service's database, with its password; replaces
    `serve.database`."""
    media_store_url: Annotated[str, AfterValidator(_without_password)] | None = None
    """LIA_MEDIA_STORE_URL, such as s3://bucket/folder: where the animation service keeps uploads and their
    results; replaces `serve.media_store`. Credentials and endpoint as for LIA_STORE_URL."""
    download_proxy: str | None = Field(default=None, repr=False)
    """LIA_DOWNLOAD_PROXY: URL of the proxy for downloads, with its password; replaces `download.proxy`."""
    prefect_api_url: str | None = None
    """LIA_PREFECT_API_URL, or our own server's while it runs; None starts a private one for each flow."""
    mlflow_tracking_uri: str = Field(repr=False)
    """LIA_MLFLOW_TRACKING_URI, or the project's sqlite file. The user and the password of a server may stand
    in it, or in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."""
    ray_address: str | None = None
    """LIA_RAY_ADDRESS, or our own head's while it runs; None starts a private one for each run."""
    store_url: Annotated[str, AfterValidator(_without_password)] | None = None
    """LIA_STORE_URL, such as s3://bucket/folder: where raw videos, clips and shards are kept too, so that
    another machine goes on from there; with LIA_RAY_ADDRESS, clips and tars are kept there alone. None keeps
    all of them here. Without credentials, since it reaches logs
    and Prefect: these go into AWS_* or fsspec's own configuration."""
    train_storage_url: Annotated[str, AfterValidator(_without_password)] | None = None
    """LIA_TRAIN_STORAGE_URL, such as s3://bucket/folder: where training keeps its checkpoints, which all
    machines of a cluster have to reach; None for runs/train, which they then have to share. Credentials and
    endpoint as for LIA_STORE_URL, on every machine."""
    ray_auth_mode: Literal["disabled", "token"] | None = None
    """LIA_RAY_AUTH_MODE, `disabled` or `token`: Ray's own authentication. None: the project's token for our
    own head and private clusters; for the cluster of LIA_RAY_ADDRESS, RAY_AUTH_* as the user set them."""
    correlation_id: CorrelationId
    """LIA_CORRELATION_ID: one id for all that a piece of work sets off: flow runs, Ray's tasks, the MLflow
    run and jobs of the service. Leave it unset: a deployment's run hands its flow run's id on, and a command
    in a terminal makes one."""
    log_format: Literal["text", "json"] = "text"
    """LIA_LOG_FORMAT, `text` or `json`: one JSON object a line, with the correlation id, for programs that
    collect logs; Prefect's and Ray's lines too."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use arguments alone: `read_environment` decides whose variables count and passes their values."""
        return (init_settings,)

    def ports(self) -> dict[str, int]:
        """Return every configured port by its field."""
        return {field: getattr(self, field) for field in type(self).model_fields if field.endswith("_port")}

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

    @property
    def uses_own_ray(self) -> bool:
        """Whether Ray is a private cluster or this project's own head, not one of LIA_RAY_ADDRESS."""
        record = live_record(record_path(self.paths.services, "ray"))
        return self.ray_address is None or (record is not None and record.address == self.ray_address)

    @property
    def shared_store_url(self) -> str | None:
        """URL of the store through which the machines of LIA_RAY_ADDRESS exchange files; else None.

        This project's own head is on this machine, which has the files.
        """
        return None if self.uses_own_ray else self.store_url

    def _ray_variables(self) -> dict[str, str]:
        if self.uses_own_ray:
            return self._own_ray_variables()
        return {} if self.ray_auth_mode is None else {"RAY_AUTH_MODE": self.ray_auth_mode}

    def _own_ray_variables(self) -> dict[str, str]:
        return {
            "RAY_AUTH_MODE": self.ray_auth_mode or "token",
            "RAY_AUTH_TOKEN_PATH": str(self.paths.ray_token),
            # Without it Ray replaces 127.0.0.1 by the machine's public address, and its ports listen on all.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }

    def check_cluster(self) -> None:
        """Join the cluster of LIA_RAY_ADDRESS once, before work begins that would end in vain.

        Raises:
            ClusterError: it does not answer, or refuses this process.
        """
        if self.ray_address is not None and not self.uses_own_ray:
            from pipelines.local.cluster import require_cluster

            require_cluster(self.ray_address)

    def check_train_storage(self) -> None:
        """Read something of the storage of checkpoints, where it is an object store.

        Raises:
            StoreError: it cannot be read.
        """
        if self.train_storage_url is not None:
            from preprocessing.storage.object_store import Store

            Store(self.train_storage_url, variable_name("train_storage_url")).check()

    def tool_variables(self) -> dict[str, str]:
        """Return the variables that the tools underneath read: homes, addresses, and no telemetry."""
        variables = {
            "PREFECT_HOME": str(self.paths.runs / "prefect"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # 30 s of a request's repetitions. A flow whose server fails makes four or five requests more.
            "PREFECT_CLIENT_MAX_RETRIES": "4",
            # By which infra/automations.yaml knows runs whose machine died; the least that Prefect takes.
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            **tracking_variables(self.mlflow_tracking_uri),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # MLflow's own 7 retries take four minutes; a run keeps what it cannot send, and sends it later.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self.paths.ray_home.parent),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.paths.runs / "dvc"),
            "MPLCONFIGDIR": str(self.paths.runs / "matplotlib"),
            "OMP_WAIT_POLICY": "passive",
            "DO_NOT_TRACK": "1",
            **self._ray_variables(),
            **_loopback_exemption(os.environ),
        }
        if self.log_format == "json":
            variables["PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER"] = "json"
            variables["RAY_LOGGING_CONFIG_ENCODING"] = "JSON"
        if self.prefect_api_url is not None:
            variables["PREFECT_API_URL"] = self.prefect_api_url
        if self.ray_address is not None:
            variables["RAY_ADDRESS"] = self.ray_address
        return variables

    def activate(self) -> None:
        """Put `tool_variables` into this process; call before any of the tools is imported.

        An address left over from another project is removed, so that no run lands in a foreign server. In a
        moved or copied project MLflow's store is pointed at the files beside it.

        Raises:
            ValueError: the store cannot be changed, or the file of Ray's token is empty.
        """
        is_own = self.mlflow_tracking_uri == sqlite_uri(self.paths.mlflow_store)
        if is_own and (former := adopt_artifacts(self.paths.mlflow_store, self.paths.artifacts)):
            logger.info("MLflow's files are read from %s, no longer from %s", self.paths.root, former[0])
        for name in ("PREFECT_API_URL", "RAY_ADDRESS"):
            os.environ.pop(name, None)
        if self.uses_own_ray:
            ensure_ray_token(self.paths.ray_token)
            # Ray would prefer it to the file.
            os.environ.pop("RAY_AUTH_TOKEN", None)
        elif os.environ.get("RAY_AUTH_TOKEN_PATH") == str(self.paths.ray_token):
            # Left by `lia env`: another cluster neither gets our token nor is on our loopback.
            for name in self._own_ray_variables():
                os.environ.pop(name, None)
        os.environ.update(self.tool_variables())
        # Apart from the tools' variables: `lia env` would join all that a shell does afterwards.
        os.environ[CORRELATION_VARIABLE] = self.correlation_id
        # Prefect's private server opens its database there without making the folder.
        (self.paths.runs / "prefect").mkdir(parents=True, exist_ok=True)


class _Variables(EnvSettingsSource):
    """The LIA_* variables among `variables`; an empty one counts as unset."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(Environment)
        given = {name: variables.get(name) for name in map(variable_name, _settable_fields())}
        self.env_vars = {name.lower(): value for name, value in given.items() if value}


def variable_name(field: str) -> str:
    """Return the variable that sets `field` of `Environment`, such as LIA_SERVE_PORT."""
    return f"{_PREFIX}{field.upper()}"


def read_environment(cwd: Path, variables: Mapping[str, str] | None = None) -> Environment:
    """Read LIA_* from `variables` (None: the process's own) for the project around `cwd`.

    Raises:
        ValueError: `cwd` is in no project, or a variable's value is not allowed.
    """
    variables = os.environ if variables is None else variables
    paths = ProjectPaths(find_root(cwd))
    _warn_of_unknown(variables)
    defaults = {
        "mlflow_tracking_uri": sqlite_uri(paths.mlflow_store),
        "correlation_id": new_correlation_id(),
        **_running_services(paths),
    }
    try:
        return Environment(paths=paths, **{**defaults, **_Variables(variables)()})
    except ValidationError as error:
        first = error.errors()[0]
        name = variable_name(str(first["loc"][0]))
        value = mask_credentials(str(first["input"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name} is {value!r}: {reason}; set another value or unset it") from None


def sqlite_uri(path: Path) -> str:
    """Return SQLAlchemy's URI of a SQLite file."""
    # SQLAlchemy decodes the path. No other characters are quoted, since MLflow makes the parent folder of the
    # path as written here.
    quoted = str(path).replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{quoted}?timeout={_DATABASE_TIMEOUT_S}"


def _loopback_exemption(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep programs from reaching loopback through a proxy of the environment."""
    listed = [one.strip() for name in ("no_proxy", "NO_PROXY") for one in variables.get(name, "").split(",")]
    hosts = ",".join(dict.fromkeys(one for one in (*listed, *_LOOPBACK) if one))
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _settable_fields() -> list[str]:
    return [field for field in Environment.model_fields if field != "paths"]


def _running_services(paths: ProjectPaths) -> dict[str, str]:
    """Return the addresses of those of the project's own services that run, by the field for each."""
    records = {
        field: live_record(record_path(paths.services, name))
        for field, name in (("prefect_api_url", "prefect"), ("ray_address", "ray"))
    }
    return {field: record.address for field, record in records.items() if record is not None}


def _warn_of_unknown(variables: Mapping[str, str]) -> None:
    known = [variable_name(field) for field in _settable_fields()]
    for name in variables:
        if name.startswith(_PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            logger.warning("%s is set, but nothing reads it%s", name, hint)
