"""A real S3 server on loopback, for what keeps data in an object store: SeaweedFS in one process."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def serve_s3() -> Iterator[dict[str, str]]:
    """Serve an empty store; yields the variables with which clients reach it, LIA_STORE_URL among them."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    keys = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "only-on-loopback"}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "weed.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                [
                    *("weed", "server", "-s3", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    # Two services that the tests do not use, and telemetry.
                    *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
                    *("-volume.max=16", "-master.volumeSizeLimitMB=64"),
                    *(f"-{name}={port}" for name, port in ports.items()),
                ],
                env=os.environ | keys,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            endpoint = f"http://127.0.0.1:{ports['s3.port']}"
            _make_bucket(server, endpoint, keys, log)
            yield keys | {"AWS_ENDPOINT_URL": endpoint, "LIA_STORE_URL": f"s3://{BUCKET}/project"}
        finally:
            # A clean shutdown takes half a minute, and nothing of it is kept.
            server.kill()
            server.wait(30)


def _make_bucket(server: subprocess.Popen[bytes], endpoint: str, keys: dict[str, str], log: Path) -> None:
    import s3fs

    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            client = s3fs.S3FileSystem(
                key=keys["AWS_ACCESS_KEY_ID"],
                secret=keys["AWS_SECRET_ACCESS_KEY"],
                endpoint_url=endpoint,
                skip_instance_cache=True,
            )
            client.mkdir(BUCKET)
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS does not serve: {log.read_text()[-2000:]}") from None
            time.sleep(0.5)
