import asyncio

import httpx
from starlette.responses import HTMLResponse

from lia_model.serving.http.security_headers import SECURITY_HEADERS, SecurityHeadersMiddleware
from tests.lia_model.serving.service import Service


def test_every_answer_has_the_headers(tmp_path):
    service = Service(tmp_path, token="s3cret")
    authorized = {"Authorization": "Bearer s3cret"}
    answers = [
        service.ask("GET", "/healthz"),
        service.ask("GET", "/v1/models"),
        service.ask("GET", "/v1/models", headers=authorized),
        service.ask("GET", "/nowhere", headers=authorized),
        service.ask("POST", "/v1/animations", headers=authorized | {"Content-Length": "999999999"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 404, 413]
    for answer in answers:
        assert (
            answer.headers.items()
            >= {name.lower(): value for name, value in SECURITY_HEADERS.items()}.items()
        )


def test_a_page_may_set_its_own_policy():
    policy = {"content-security-policy": "default-src 'self'"}

    async def ask():
        transport = httpx.ASGITransport(SecurityHeadersMiddleware(HTMLResponse("page", headers=policy)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/")

    headers = asyncio.run(ask()).headers
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert headers["x-frame-options"] == "DENY"
