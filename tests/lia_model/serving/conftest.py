import pytest

from lia_model.serving.database import open_database, sqlite_url
from tests.lia_model.serving.service import Service
from tests.postgresql import postgres_server


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> str:
    """URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "jobs.sqlite")
    return request.getfixturevalue("postgres").create()


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def service(tmp_path) -> Service:
    return Service(tmp_path)
