"""`lia import-checkpoint`, `export-checkpoint` and `export-onnx`: conversion from and to other formats."""

from __future__ import annotations

from pathlib import Path

from lia_model.checkpoints.crop_record import UNRECORDED
from lia_model.checkpoints.directory import load_generator, read_config
from lia_model.checkpoints.onnx_export import ENCODER, PAINTER, export_onnx
from lia_model.checkpoints.published import ImportReport, export_checkpoint, import_checkpoint
from lia_model.registry import models, runs
from preprocessing.settings import CropRule
from preprocessing.storage.files import file_sha256

DIGEST_CHARS = 12


def run_import(
    file: Path, output: Path, name: str | None, artifacts: Path, crop_rule: CropRule | None = None
) -> str:
    """Convert a published checkpoint to a checkpoint directory, and register it if a name is given.

    Args:
        file: the published checkpoint.
        output: checkpoint directory to write; replaced if it is one already.
        name: registered name, or None.
        artifacts: folder of MLflow's artifacts.
        crop_rule: how its training clips were cropped; None records nothing, which stands for faces.

    Returns:
        A report for the terminal.

    Raises:
        ValueError: the file is not a LIA checkpoint, or `output` exists and is not a checkpoint directory.
    """
    if output.exists():
        # Raises for other folders, which must not be overwritten.
        read_config(output)
    crop = None if crop_rule is None else UNRECORDED.model_copy(update={"rule": crop_rule})
    report = import_checkpoint(file, output, crop)
    lines = import_lines(report, output)
    if name is not None:
        run = runs.open_run(
            f"import-{file_sha256(file)[:DIGEST_CHARS]}", artifacts, {"imported_from": file.name}, {}
        )
        version = models.version_of_run(name, run.run_id) or models.register(
            name, output, run.run_id, {"lia.imported_from": file.name}
        )
        run.finish()
        lines.append(f"registered as models:/{name}/{version}")
    return "\n".join(lines)


def import_lines(report: ImportReport, output: Path) -> list[str]:
    """Return lines on the imported network and on the entries it does not use."""
    network = report.network
    lines = [
        f"{output}: LIA at {network.size_px} px, width {network.width:g}, {network.num_directions} directions"
        f"; {report.num_used} entries used, {len(report.unused)} kept for export only:",
        *(f"  {name}" for name in report.unused),
    ]
    if report.left_out:
        lines.append(f"not imported: {', '.join(report.left_out)}")
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
        ValueError: the model does not exist, or a required package is not installed.
    """
    generator = load_generator(models.resolve(model).directory)
    export_onnx(generator, output)
    return f"{output}: {ENCODER} and {PAINTER}, {generator.settings.size_px} px, checked against the module"
