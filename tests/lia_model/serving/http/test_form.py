import asyncio
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic import Field

from lia_model.animation.options import AnimationOptions
from lia_model.serving.http.form import form_fields
from tests.lia_model.serving.live import live
from tests.lia_model.serving.service import png


class MoreOptions(AnimationOptions):
    smooth: bool = True
    """Smooth the motion."""
    zoom: Annotated[float, Field(gt=0)] = 1.5
    """Factor on the size of the result."""


def ask(method, path, options=MoreOptions, **request):
    api = FastAPI()

    @api.post("/")
    def read(fields: Annotated[dict[str, Any], Depends(form_fields(options))]) -> dict[str, Any]:
        return fields

    async def send():
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **request)

    answer = asyncio.run(send())
    assert answer.status_code == 200, answer.text
    return answer.json()


def shown_fields(options):
    (shape,) = [
        shape
        for name, shape in ask("GET", "/openapi.json", options)["components"]["schemas"].items()
        if name.startswith("Body_")
    ]
    return shape


def kinds(schema):
    """Return the alternatives that a field's schema allows, without nesting."""
    if "anyOf" in schema:
        return [kind for inner in schema["anyOf"] for kind in kinds(inner)]
    return [{key: value for key, value in schema.items() if key not in ("title", "description", "default")}]


@pytest.mark.parametrize("name", MoreOptions.model_fields)
@pytest.mark.parametrize("text", ["true", "false", "0", "absolute", "anything else"])
def test_a_field_is_passed_on_as_the_text_that_was_sent(name, text):
    assert ask("POST", "/", data={name: text}) == {name: text}


def test_fields_left_out_are_left_to_the_models_defaults():
    assert ask("POST", "/", data={}) == {}
    every = {name: str(field.default) for name, field in MoreOptions.model_fields.items()}
    for left_out in every:
        sent = {name: text for name, text in every.items() if name != left_out}
        assert ask("POST", "/", data=sent) == sent


@pytest.mark.parametrize("options", [AnimationOptions, MoreOptions])
def test_the_schema_shows_each_option_with_its_own_type_default_and_help(options):
    shown = shown_fields(options)
    own = options.model_json_schema()["properties"]
    assert set(shown["properties"]) == set(own)
    assert "required" not in shown
    for name, field in options.model_fields.items():
        one = shown["properties"][name]
        assert one["default"] == field.default
        assert one["description"] == field.description
        assert [kind for kind in kinds(one) if kind != {"type": "null"}] == kinds(own[name])


def test_a_job_without_any_field_has_the_defaults_of_the_schema(service):
    service.post()
    job = service.claim()
    shown = shown_fields(AnimationOptions)["properties"]
    assert job.order.options.model_dump() == {name: field["default"] for name, field in shown.items()}


def test_over_http_a_form_with_the_files_alone_has_the_defaults_of_the_schema(tmp_path):
    with live(tmp_path) as service:
        files = {"source": ("a.png", png()), "driving": ("b.png", png())}
        link = service.client.post("/v1/animations", files=files).json()["links"]["self"]
        (shape,) = (
            shape
            for name, shape in service.client.get("/openapi.json").json()["components"]["schemas"].items()
            if name.startswith("Body_")
        )
        defaults = {
            name: field["default"] for name, field in shape["properties"].items() if "default" in field
        }
        options = service.jobs.get(link.rpartition("/")[2]).order.options
        assert options.model_dump().items() <= defaults.items()
