"""`lia import-checkpoint`, `export-checkpoint` and `export-onnx`: other systems' formats in and out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lia_model.checkpoints.directory import load_generator, read_config
from lia_model.checkpoints.onnx_export import ENCODER, PAINTER, export_onnx
from lia_model.checkpoints.published import ImportReport, export_checkpoint, import_checkpoint
from lia_model.registry import models, runs
from pipelines.environment import Environment


def run_import(file: Path, output: Path, name: str | None, environment: Environment) -> str:
    """Turn a published checkpoint into a checkpoint directory, and register it where a name is given.

    Returns:
        What was done, in lines for the operator.

    Raises:
        ValueError: the file is not a LIA checkpoint, or `output` exists and is no checkpoint of ours.
    """
    if output.exists():
        # Only what this command would make may be replaced.
        read_config(output)
    report = import_checkpoint(file, output)
    lines = describe(report, output)
    if name is not None:
        run = runs.open_run(
            f"import-{_digest(file)}", environment.artifacts, {"imported_from": file.name}, {}
        )
        version = models.version_of_run(name, run.run_id) or models.register(
            name, output, run.run_id, {"lia.imported_from": file.name}
        )
        run.finish()
        lines.append(f"registered as models:/{name}/{version}")
    return "\n".join(lines)


def describe(report: ImportReport, output: Path) -> list[str]:
    """Say what the checkpoint was and what became of each of its entries."""
    network = report.network
    lines = [
        f"{output}: LIA at {network.size_px} px, width {network.width:g}, {network.num_directions} directions"
        f"; {report.num_used} entries used, {len(report.unused)} kept that nothing computes with:",
        *(f"  {name}" for name in report.unused),
    ]
    if report.left_out:
        lines.append(f"not taken over: {', '.join(report.left_out)}")
    return lines


def run_export(directory: Path, output: Path) -> str:
    """Write a checkpoint directory as a published checkpoint.

    Raises:
        ValueError: the directory is not a checkpoint.
    """
    export_checkpoint(directory, output)
    return f"{output}: {read_config(directory).network.size_px} px, in the published format"


def run_export_onnx(model: str, output: Path) -> str:
    """Write a model as ONNX graphs.

    Raises:
        ValueError: there is no such model, or the packages for it are not installed.
    """
    generator = load_generator(models.resolve(model).directory)
    export_onnx(generator, output)
    return f"{output}: {ENCODER} and {PAINTER}, {generator.settings.size_px} px, checked against the module"


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
