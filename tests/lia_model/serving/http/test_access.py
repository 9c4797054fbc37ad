import asyncio

import pytest

from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.http.access import OPEN_PATHS, AccessMiddleware
from tests.lia_model.serving.live import live
from tests.lia_model.serving.service import Service, assert_refused

PATHS = ("/v1/models", "/openapi.json", "/v1/animations/a", "/nowhere", "/healthz/")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"s3cret",
        b"Bearer",
        b"Bearer other",
        b"Bearer s3cre",
        b"Bearer s3cret2",
        b"Bearer S3CRET",
        b"Basic s3cret",
        "Bearer é".encode(),
    ],
)
def test_without_the_token_only_the_open_paths_answer(tmp_path, authorization):
    service = Service(tmp_path, token="s3cret")
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in PATHS:
        answer = service.ask("GET", path, headers=headers)
        assert_refused(answer, 401, "unauthorized", "Authorization: Bearer TOKEN")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    for path in OPEN_PATHS:
        assert service.ask("GET", path, headers=headers).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "])
def test_the_token_opens_every_path(tmp_path, authorization):
    service = Service(tmp_path, token="s3cret")
    headers = {"Authorization": authorization}
    assert service.ask("GET", "/v1/models", headers=headers).status_code == 200
    assert_refused(service.ask("GET", "/v1/animations/a", headers=headers), 404, "not_found")


def test_a_token_of_other_letters_than_ascii_is_compared_too(tmp_path):
    service = Service(tmp_path, token="clé à")
    right, wrong = ({"Authorization": f"Bearer {token}".encode()} for token in ("clé à", "cle a"))
    assert_refused(service.ask("GET", "/v1/models", headers=wrong), 401, "unauthorized")
    assert service.ask("GET", "/v1/models", headers=right).status_code == 200


def test_a_forged_host_header_opens_no_path(tmp_path):
    service = Service(tmp_path, token="s3cret")
    forged = {"Host": "service/healthz?"}
    assert_refused(service.ask("GET", "/v1/models", headers=forged), 401, "unauthorized")


def test_without_a_configured_token_every_path_is_open_to_this_machine(service):
    for host in ("localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:8000", "127.0.0.2", "[::1]:8000"):
        headers = {"Authorization": "Bearer any", "Host": host}
        assert service.ask("GET", "/v1/models", headers=headers).status_code == 200
        for origin in (f"http://{host}", f"https://{host}"):
            answer = service.ask("GET", "/v1/models", headers=headers | {"Origin": origin})
            assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", "", "["],
)
def test_without_a_token_a_name_that_only_points_here_is_refused(service, host):
    answer = service.ask("GET", "/v1/models", headers={"Host": host})
    assert_refused(answer, 403, "foreign_origin", "LIA_API_TOKEN")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://localhost:3000", "null", "", "http://localhost.evil.example", "http://["],
)
def test_without_a_token_a_page_of_another_site_is_refused(service, origin):
    headers = {"Host": "localhost:8000", "Origin": origin}
    assert_refused(service.ask("POST", "/v1/batches", headers=headers, json={}), 403, "foreign_origin")


def test_with_a_token_the_service_has_any_name(tmp_path):
    service = Service(tmp_path, token="s3cret")
    headers = {"Authorization": "Bearer s3cret", "Host": "lia.example", "Origin": "https://page.example"}
    assert service.ask("GET", "/v1/models", headers=headers).status_code == 200


def test_what_is_no_http_request_needs_no_token():
    """A server starts and stops the application by messages of the type lifespan."""
    passed = []

    async def application(scope, receive, send):
        passed.append((scope, receive, send))

    parts = ({"type": "lifespan"}, object(), object())
    asyncio.run(AccessMiddleware(application, Tokens(None, "s3cret"))(*parts))
    assert passed == [parts]


def bearer(token):
    return {"Authorization": f"Bearer {token.secret}"}


def test_a_running_service_knows_new_and_revoked_tokens_at_once(tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    with live(tmp_path, token_file=file) as service:
        assert service.client.get("/v1/models").status_code == 200
        first, second = file.create(Scope.READ), file.create(Scope.READ)
        assert_refused(service.client.get("/v1/models"), 401, "unauthorized")
        for token in (first, second):
            assert service.client.get("/v1/models", headers=bearer(token)).status_code == 200
        file.revoke(first.record.id)
        assert_refused(service.client.get("/v1/models", headers=bearer(first)), 401, "unauthorized")
        assert service.client.get("/v1/models", headers=bearer(second)).status_code == 200
        file.revoke(second.record.id)
        # A service whose last token was revoked stays closed.
        for headers in ({}, bearer(second)):
            assert_refused(service.client.get("/v1/models", headers=headers), 401, "unauthorized")


def test_a_reading_token_changes_nothing(tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    reader, submitter = (bearer(file.create(scope)) for scope in (Scope.READ, Scope.SUBMIT))
    with live(tmp_path, token_file=file) as service:
        for method, path in (
            ("POST", "/v1/animations"),
            ("DELETE", "/v1/animations/a"),
            ("POST", "/v1/batches"),
            ("POST", "/nowhere"),
        ):
            refused = service.client.request(method, path, headers=reader)
            assert_refused(refused, 403, "missing_scope", "has the scope read", "needs submit")
            assert refused.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="submit"'
            assert service.client.request(method, path, headers=submitter).status_code in (404, 415, 422)
        for method in ("GET", "HEAD"):
            assert service.client.request(method, "/v1/models", headers=reader).status_code == 200


def test_a_service_for_other_machines_never_opens(tmp_path):
    """Even if its file of tokens is deleted while it runs."""
    assert Tokens(TokenFile(tmp_path / "tokens.json"), is_public=True).is_required


def test_a_damaged_file_of_tokens_closes_the_service(tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.create(Scope.ADMIN)
    with live(tmp_path, token_file=file) as service:
        file.path.write_text("{")
        refused = service.client.get("/v1/models", headers=bearer(token))
        assert_refused(refused, 503, "unavailable")
        assert str(tmp_path) not in refused.text
        assert service.client.get("/healthz").status_code == 200
