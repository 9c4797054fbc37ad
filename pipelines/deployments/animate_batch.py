"""The deployment that animates the rows of a CSV file with `lia batch`."""

from pathlib import Path

from prefect import flow, get_run_logger

from pipelines.child_programs import run_logged
from pipelines.deployments.artifacts import show_batch
from pipelines.environment import read_environment


@flow(name="animate-batch", persist_result=False)
def animate_batch(manifest: str, output: str, endpoint: str | None = None) -> None:
    """Animate every row of a manifest; a rerun animates what is missing.

    Args:
        manifest: CSV file with columns source, driving and options, absolute or relative to the project.
        output: folder for the videos and results.csv, absolute or relative to the project.
        endpoint: URL of a running service; None as `lia batch` without --endpoint.

    Raises:
        ValueError: the manifest does not exist.
        ProgramError: a row has no video; the table on the run's page names the reasons.
    """
    environment = read_environment(Path.cwd())
    root = environment.paths.root
    if not (root / manifest).is_file():
        raise ValueError(f"got the manifest {root / manifest}, which is no file: give a CSV file of rows")
    command = ["lia", "batch", str(root / manifest), "--output", str(root / output)]
    command += [] if endpoint is None else ["--endpoint", endpoint]
    results = root / output / "results.csv"
    try:
        run_logged(command, root, environment.tool_variables(), get_run_logger())
    finally:
        if results.is_file():
            show_batch(results)
