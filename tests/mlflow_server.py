"""A real MLflow server that asks for a password, and that tests may kill and start again."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from urllib.request import ProxyHandler, build_opener

import psutil

from tests.ports import free_port

START_S = 180
_USER = "ann"
_CONFIG = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
admin_username = {user}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""


class MlflowServer:
    """The server, with its records and files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.password = token_hex()
        self.address = f"http://127.0.0.1:{free_port()}"
        (folder / "users.ini").write_text(_CONFIG.format(folder=folder, user=_USER))
        self.start()

    @property
    def uri(self) -> str:
        """The address with user and password."""
        return self.address.replace("://", f"://{_USER}:{self.password}@")

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = (
            sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1",
            "--host", "127.0.0.1", "--port", self.address.rpartition(":")[2],
            "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db",
            "--artifacts-destination", str(self._folder / "artifacts"),
        )  # fmt: skip
        variables = os.environ | {
            "MLFLOW_AUTH_CONFIG_PATH": str(self._folder / "users.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": token_hex(),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self._log = self._folder / "server.log"
        with self._log.open("a") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, env=variables, stdout=log, stderr=log)
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            is_in_time = self._process.poll() is None and time.monotonic() < deadline_s
            assert is_in_time, self._log.read_text()
            time.sleep(0.2)

    def _answers(self) -> bool:
        opener = build_opener(ProxyHandler({}))
        try:
            with opener.open(f"{self.address}/health", timeout=5):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """Kill it with its workers, as a machine that is lost."""
        main = psutil.Process(self._process.pid)
        family = [*main.children(recursive=True), main]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=30)
        self._process.wait(30)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[MlflowServer]:
    """Run a server with its files in `folder`."""
    server = MlflowServer(folder)
    try:
        yield server
    finally:
        if server._process.poll() is None:
            server.kill()
