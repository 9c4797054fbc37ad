import pytest

from lia_model.serving import messages
from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.http.access import OPEN_PATHS
from lia_model.serving.http.examples import ANSWERS, REQUESTS
from lia_model.serving.interactive import messages as live_messages
from lia_model.serving.interactive.live_model import LiveModel
from tests.lia_model.serving.live import live, tiny_animator
from tests.lia_model.serving.page_service import PageService

ANSWER_KINDS = {
    "POST /v1/animations": messages.AnimationAccepted,
    "GET /v1/animations": messages.AnimationList,
    "GET /v1/animations/{job_id}": messages.AnimationStatus,
    "POST /v1/batches": messages.BatchAccepted,
    "GET /v1/batches/{batch_id}": messages.BatchStatus,
    "GET /v1/directions": live_messages.DirectionList,
    "PUT /v1/directions/{number}": live_messages.Direction,
    "POST /v1/crops": live_messages.Crop,
    "GET /v1/samples": live_messages.SampleList,
    "GET /v1/models": messages.ModelList,
    "GET /healthz": messages.Health,
}


@pytest.fixture
def described(tmp_path):
    """The service with all its routes."""
    with PageService(tmp_path / "whole", LiveModel(tiny_animator(), None), None).serving() as service:
        yield service


@pytest.fixture
def operations(described):
    document = described.client.get("/openapi.json").json()
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_call_names_the_scope_that_it_needs(service, operations, tmp_path):
    """The description agrees with what the service does."""
    file = TokenFile(tmp_path / "tokens.json")
    reader = {"Authorization": f"Bearer {file.create(Scope.READ).secret}"}
    with live(tmp_path, token_file=file) as guarded:
        for call, operation in operations.items():
            method, path = call.split()
            if path in OPEN_PATHS:
                assert "security" not in operation
                continue
            ((scheme, (scope,)),) = operation["security"][0].items()
            assert scheme in service.ask("GET", "/openapi.json").json()["components"]["securitySchemes"]
            answer = guarded.client.request(method, path, headers=reader)
            assert (answer.status_code == 403) == (scope != "read"), call


def test_every_json_call_has_examples_of_its_kind(operations):
    assert ANSWERS.keys() == ANSWER_KINDS.keys() <= operations.keys()
    for call, kind in ANSWER_KINDS.items():
        kind.model_validate(ANSWERS[call])
        (example,) = (
            content["example"]
            for status, answer in operations[call]["responses"].items()
            if status.startswith("2")
            for content in answer["content"].values()
        )
        assert example == ANSWERS[call]
    with_json = [
        call
        for call, operation in operations.items()
        for status, answer in operation["responses"].items()
        if status.startswith("2") and "application/json" in answer.get("content", ())
    ]
    assert set(with_json) == ANSWERS.keys()
    assert {call for call, operation in operations.items() if "requestBody" in operation} == REQUESTS.keys()
    messages.BatchRequest.model_validate(REQUESTS["POST /v1/batches"])
    for call, example in REQUESTS.items():
        (content,) = operations[call]["requestBody"]["content"].values()
        assert content["example"] == example


def test_the_example_of_an_upload_has_known_fields_alone(service):
    fields = {name: value for name, value in REQUESTS["POST /v1/animations"].items() if value[0] != "("}
    assert service.post(**fields).status_code == 202
