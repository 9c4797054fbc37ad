import pytest

from lia_model.serving.client.errors import NoServiceError
from pipelines.commands.batch.command import run_batch
from pipelines.environment import read_environment
from pipelines.params import read_params
from tests.pipelines.commands.batch.batch_project import NUM_FRAMES, TOKEN
from tests.ports import free_port


@pytest.fixture
def without_service(monkeypatch):
    """Records the rows that would be animated on Ray."""
    calls = []

    def record(rows, output, params, environment, model, cluster):
        calls.append((rows, output, model))
        return 7

    monkeypatch.setattr("pipelines.commands.batch.offline.run_offline", record)
    return calls


def run(project, manifest, output, port, **more):
    environment = read_environment(project.root, {"LIA_API_TOKEN": TOKEN, "LIA_SERVE_PORT": str(port)})
    return run_batch(
        str(manifest), str(output), read_params(project.root / "params.yaml"), environment, **more
    )


def test_the_projects_own_service_animates_if_it_answers(project, endpoint, without_service):
    manifest = project.write("own.csv", "source,driving", "face.mp4,face.mp4")
    assert run(project, manifest, project.root / "own", port=int(endpoint.rpartition(":")[2])) == 0
    assert [row["frames"] for row in project.results("own")] == [str(NUM_FRAMES)]
    assert without_service == []


def test_without_a_service_the_champion_or_the_named_model_animates(project, endpoint, without_service):
    manifest = project.write("alone.csv", "source,driving", "face.mp4,face.mp4")
    assert run(project, manifest, "out", port=free_port()) == 7
    assert run(project, manifest, "out", port=int(endpoint.rpartition(":")[2]), model="tiny") == 7
    assert [(output, model) for _, output, model in without_service] == [
        ("out", "models:/lia@champion"),
        ("out", "tiny"),
    ]


def test_files_in_an_object_store_are_animated_without_the_service(project, endpoint, without_service):
    port = int(endpoint.rpartition(":")[2])
    manifest = project.write("bucket.csv", "source,driving", "s3://bucket/a.png,face.mp4")
    run(project, manifest, "out", port)
    run(project, project.write("plain.csv", "source,driving", "face.mp4,face.mp4"), "s3://bucket/out", port)
    ((row,), _, _), _ = without_service
    assert row.source == "s3://bucket/a.png"
    with pytest.raises(ValueError, match="got the output s3://bucket/out for the service at"):
        run(project, manifest, "s3://bucket/out", port, endpoint=endpoint)


def test_a_service_that_is_named_is_not_replaced_by_ray(project, without_service):
    manifest = project.write("named.csv", "source,driving", "face.mp4,face.mp4")
    with pytest.raises(NoServiceError, match="lia serve"):
        run(
            project, manifest, project.root / "named", free_port(), endpoint=f"http://127.0.0.1:{free_port()}"
        )
    assert without_service == []
