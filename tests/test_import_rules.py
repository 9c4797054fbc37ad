"""What import-linter cannot say: it knows Ray as one library, the rooms use different parts of it."""

import ast
from pathlib import Path

import pytest

ALLOWED_PARTS = {
    "lia_model/training/cluster/checkpoint_reporter.py": {"ray.train"},
    "lia_model/training/cluster/checkpoint_validation.py": {"ray", "ray.train", "ray.util"},
    "lia_model/training/cluster/journal_actor.py": {"ray", "ray.util"},
    "lia_model/training/cluster/notices.py": {"ray", "ray.train"},
    "lia_model/training/cluster/sweep/tuner.py": {"ray", "ray.tune"},
    "lia_model/training/cluster/worker.py": {"ray", "ray.exceptions", "ray.train"},
    "lia_model/serving/app/api_replica.py": {"ray.exceptions", "ray.serve"},
    "lia_model/serving/app/application.py": {"ray", "ray.exceptions", "ray.serve"},
    "pipelines/commands/served_application.py": {"ray.serve"},
    "pipelines/commands/batch/offline.py": {"ray", "ray.data", "ray.exceptions", "ray.util"},
    "pipelines/local/cluster.py": {"ray", "ray.exceptions"},
    "pipelines/local/download_workers.py": {"ray", "ray.exceptions"},
}


def ray_parts(path: Path) -> set[str]:
    """Return `ray`, or `ray.<part>`, for each import of Ray in a file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "ray":
            names |= {
                f"ray.{alias.name}" if alias.name in ("train", "serve", "data") else "ray"
                for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {".".join(name.split(".")[:2]) for name in names if name.split(".")[0] == "ray"}


@pytest.mark.parametrize("path", ALLOWED_PARTS)
def test_each_door_of_ray_opens_its_own_part_only(path: str) -> None:
    assert ray_parts(Path(path)) <= ALLOWED_PARTS[path]


def test_no_other_file_imports_ray() -> None:
    files = [
        file for room in ("preprocessing", "lia_model", "pipelines") for file in Path(room).rglob("*.py")
    ]
    assert {str(file) for file in files if ray_parts(file)} <= ALLOWED_PARTS.keys()


def test_only_the_environment_reads_variables_of_ours() -> None:
    readers = [
        str(file)
        for room in ("preprocessing", "lia_model", "pipelines")
        for file in Path(room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Subscript | ast.Call)
        and "environ" in ast.unparse(node)
        and "'LIA_" in ast.unparse(node)
    ]
    assert readers == []
