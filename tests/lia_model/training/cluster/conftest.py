import pytest

from lia_model.training.cluster.run_storage import RunStorage


@pytest.fixture
def s3_storage(s3, monkeypatch, request):
    """An empty run's storage on a real S3 server."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return RunStorage(f"{s3['LIA_STORE_URL']}/{request.node.originalname}", "run")


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def storage(request, tmp_path):
    """An empty run's storage in a folder and on a real S3 server."""
    if request.param == "folder":
        return RunStorage(str(tmp_path / "storage"), "run")
    return request.getfixturevalue("s3_storage")
