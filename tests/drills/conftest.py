from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def drill_folder() -> Path:
    """Where drills leave what they found: beside the logs of `make drill`."""
    folder = Path(__file__).parents[2] / "runs" / "drills"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
