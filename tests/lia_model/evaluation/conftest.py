from pathlib import Path

import pytest

from tests.lia_model.evaluation.made_up_report import make_report, make_rows, save_pictures


@pytest.fixture
def report():
    return make_report()


@pytest.fixture
def rows():
    return make_rows()


@pytest.fixture
def pictures(rows: list, tmp_path: Path) -> Path:
    """The folder of the pictures that `rows` name."""
    save_pictures(rows, tmp_path)
    return tmp_path
