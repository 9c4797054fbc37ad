"""infra/core-requirements.txt is what a GPU machine with torch and triton needs, and no more."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.lia_model.shards_on_disk import write_shards
from tests.only_these import listed

REQUIREMENTS = Path(__file__).parents[2] / "infra" / "core-requirements.txt"
GPU_TESTS = ("tests/lia_model/ops", "tests/lia_model/device", "tests/lia_model/test_recorded_animator.py")


def run_alone(*program: object) -> set[str]:
    """Run a module with the listed distributions alone; return those of them that it imported."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.only_these", REQUIREMENTS, *map(str, program)],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=REQUIREMENTS.parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def folder(tmp_path, train_settings):
    """A folder that the training program takes."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 5, 32, 32, 3), dtype=np.uint8)
    write_shards(tmp_path / "shards", {"train": list(noise)}, 32)
    settings = train_settings.model_copy(update={"num_steps": 2})
    (tmp_path / "train.json").write_text(settings.model_dump_json())
    return tmp_path


def test_the_core_trains_and_animates_and_its_tests_and_benchmarks_load_with_exactly_these(folder):
    imported = run_alone("lia_model.training.loop", folder)
    imported |= run_alone("tests.lia_model.animate_noise", folder / "checkpoints" / "final")
    imported |= run_alone("tests.benchmarks", "--help")
    imported |= run_alone("pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "--collect-only", *GPU_TESTS)
    assert imported == listed(REQUIREMENTS)


def test_what_is_not_listed_cannot_be_imported_in_that_check(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy  # and nothing else\n")
    done = subprocess.run(
        [sys.executable, "-m", "tests.only_these", tmp_path / "requirements.txt", "lia_model.settings.train"],
        cwd=REQUIREMENTS.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "No module named 'pydantic'" in done.stderr
