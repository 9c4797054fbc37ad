"""A real S3 server on loopback, for what keeps data in an object store: SeaweedFS in one process."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.ports import free_ports

PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
BUCKET = "lia"
STARTS_WITHIN_S = 60
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "only-on-loopback"}


class S3Server:
    """A server that may be stopped and started again, on the same port and with the same data.

    Args:
        folder: of its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "weed.log"
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        self.variables = KEYS | {
            "AWS_ENDPOINT_URL": self._endpoint,
            "LIA_STORE_URL": f"s3://{BUCKET}/project",
        }
        """With which clients reach it."""

    @property
    def port(self) -> int:
        """Return where clients reach it."""
        return self._ports["s3.port"]

    def start(self) -> None:
        """Start it, and return once it stores and returns an object."""
        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                [
                    *("weed", "server", "-s3", f"-dir={self._folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    # Two services that the tests do not use, and telemetry.
                    *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
                    *("-volume.max=16", "-master.volumeSizeLimitMB=64"),
                    *(f"-{name}={port}" for name, port in self._ports.items()),
                ],
                env=os.environ | KEYS,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline_s = time.monotonic() + STARTS_WITHIN_S
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"SeaweedFS does not serve: {self._log.read_text()[-2000:]}")
            time.sleep(0.5)

    def stop(self) -> None:
        """Kill it, as a machine that is lost: a clean shutdown takes half a minute."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def _serves(self) -> bool:
        import s3fs

        client = s3fs.S3FileSystem(
            key=KEYS["AWS_ACCESS_KEY_ID"],
            secret=KEYS["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=self._endpoint,
            skip_instance_cache=True,
        )
        # botocore's connection errors are no OSErrors.
        with suppress(Exception):
            with suppress(FileExistsError):
                client.mkdir(BUCKET)
            client.pipe_file(f"{BUCKET}/started", b"1")
            return client.cat_file(f"{BUCKET}/started") == b"1"
        return False


@contextmanager
def serve_s3() -> Iterator[dict[str, str]]:
    """Serve an empty store; yields the variables with which clients reach it, LIA_STORE_URL among them."""
    with tempfile.TemporaryDirectory() as folder:
        server = S3Server(Path(folder))
        try:
            server.start()
            yield server.variables
        finally:
            server.stop()


@contextmanager
def stoppable_s3(patch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Serve a store of the test's own, which it may stop and start; this process's variables name it."""
    from s3fs import S3FileSystem

    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        server = S3Server(Path(folder))
        for name, value in server.variables.items():
            patch.setenv(name, value)
        # fsspec would give the connection to the server of other tests, whose URL is the same.
        S3FileSystem.clear_instance_cache()
        try:
            server.start()
            yield server
        finally:
            server.stop()
            S3FileSystem.clear_instance_cache()
