"""The image's recipe; there may be no Docker daemon here, so its files are laid out as it would copy them."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import CHECKOUT

DOCKERFILE = CHECKOUT / "infra/docker/Dockerfile"
IGNORE = CHECKOUT / "infra/docker/Dockerfile.dockerignore"


def tracked_files(*paths):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths],
        cwd=CHECKOUT,
        text=True,
        capture_output=True,
    )
    return listed.stdout.split()


@pytest.fixture
def stages():
    """The instructions of each stage by its name."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    found = {}
    for line in filter(None, text.splitlines()):
        if line.startswith("FROM"):
            _, base, _, name = line.split()
            found[name] = [*found.get(base, [])]
        else:
            found[name].append(line)
    return found


def copied_files():
    return [line.removeprefix("!") for line in IGNORE.read_text().splitlines() if line.startswith("!")]


def test_hadolint_finds_nothing():
    done = subprocess.run(["hadolint", DOCKERFILE], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_both_images_run_as_no_root_check_their_health_and_take_the_pins(stages):
    for variant in ("cpu", "cuda"):
        assert stages[variant][-1] == "USER 1000"
        assert any(line.startswith("HEALTHCHECK") for line in stages[variant])
        installed = [line for line in stages[f"packages-{variant}"] if "pip install" in line]
        assert installed
        assert all("--constraint constraints.txt" in line for line in installed)


def test_only_named_and_tracked_files_reach_the_build(stages):
    assert IGNORE.read_text().splitlines()[1] == "*"
    for path in copied_files():
        assert tracked_files(path), f"{path} is not in git"
    for line in stages["source"]:
        if line.startswith("COPY"):
            assert set(line.split()[1:-1]) <= set(copied_files())


def test_lia_runs_from_the_files_of_the_image(tmp_path):
    for path in tracked_files(*copied_files()):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / path, tmp_path / path)
    # -P keeps this checkout's code off the path.
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from pipelines.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "env"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "runs") in done.stdout


def test_the_image_installs_extras_that_exist(stages):
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for variant in ("cpu", "cuda"):
        (installed,) = re.findall(r"'\.\[(.+)\]'", "\n".join(stages[f"packages-{variant}"]))
        assert set(installed.split(",")) <= extras.keys()
