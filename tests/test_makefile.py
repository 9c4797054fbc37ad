import shutil
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT


def commands(folder):
    """What `make setup` would run."""
    make = ["make", "--dry-run", "--no-print-directory", f"PYTHON={sys.executable}", "setup"]
    return subprocess.run(make, cwd=folder, text=True, capture_output=True, check=True).stdout


@pytest.fixture
def project(tmp_path):
    """A project after `make setup`, but for the packages."""
    folder = tmp_path / "my project"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(CHECKOUT / name, folder)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=folder, check=True, timeout=60
    )
    (folder / ".venv/ready").touch()
    return folder


def test_an_environment_is_made_once(project):
    assert "pip install" not in commands(project)


@pytest.mark.parametrize("is_moved", [True, False])
def test_the_environment_of_a_moved_or_copied_project_is_made_anew(project, tmp_path, is_moved):
    other = tmp_path / "other"
    (project.rename if is_moved else lambda to: shutil.copytree(project, to, symlinks=True))(other)
    told = commands(other)
    assert told.index("rm -rf .venv") < told.index("-m venv .venv") < told.index("pip install")
    if not is_moved:
        assert "rm" not in commands(project)
