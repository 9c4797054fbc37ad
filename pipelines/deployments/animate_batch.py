"""The deployment that animates the rows of a CSV file with `lia batch`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import flow, get_run_logger

from pipelines.child_programs import run_logged
from pipelines.commands.batch.places import Downloads, existing_files, joined
from pipelines.commands.batch.results import NAME
from pipelines.deployments.artifacts import show_batch
from pipelines.deployments.flow_run import deployed_environment


@flow(name="animate-batch", persist_result=False)
def animate_batch(manifest: str, output: str, endpoint: str | None = None) -> None:
    """Animate every row of a manifest; a rerun animates what is missing.

    Args:
        manifest: CSV file with columns source, driving and options: a path, absolute or relative to the
            project, or an s3:// URL.
        output: folder for the videos and results.csv: a path likewise, or an s3:// URL.
        endpoint: URL of a running service; None as `lia batch` without --endpoint.

    Raises:
        ValueError: the manifest does not exist.
        StoreError: the object store of a URL cannot be read.
        ProgramError: a row has no video; the table on the run's page names the reasons.
    """
    environment = deployed_environment()
    root = environment.paths.root
    rows, folder = joined(str(root), manifest), joined(str(root), output)
    if not existing_files([rows]):
        raise ValueError(f"got the manifest {rows}, which is no file: give a CSV file of rows")
    command = ["lia", "batch", rows, "--output", folder]
    command += [] if endpoint is None else ["--endpoint", endpoint]
    try:
        run_logged(command, root, environment.tool_variables(), get_run_logger())
    finally:
        _show(joined(folder, NAME))


def _show(results: str) -> None:
    """Show the table of results, if the batch came so far as to write one."""
    if existing_files([results]):
        with TemporaryDirectory() as folder:
            show_batch(results, Downloads(Path(folder)).local(results))
