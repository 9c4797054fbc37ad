import pytest

from tests.lia_model.serving.service import Service


@pytest.fixture
def service(tmp_path) -> Service:
    return Service(tmp_path)
