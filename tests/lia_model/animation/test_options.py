"""One option, added to the model, arrives through every door: command line, HTTP form, JSON and job row."""

import asyncio
from typing import Annotated

import httpx
import pytest
import typer
from fastapi import Depends, FastAPI
from pydantic import Field
from typer.testing import CliRunner

from lia_model.animation.options import AnimationOptions, read_options
from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.http.form import form_fields
from lia_model.serving.jobs import JobStore
from lia_model.serving.jobs.job import Order
from lia_model.serving.messages import BatchItem, ModelVersion
from pipelines.command_line.option_parameters import takes_animation_options

OTHERS = {
    "mode": "absolute",
    "start": "best",
    "face": 2,
    "paste_back": True,
    "side_by_side": True,
    "square": "10:20:300",
    "crop": False,
    "fps": 25.0,
    "size_px": 64,
    "directions": "1,smile",
    "exclude_directions": "2",
    "strict": True,
}
"""For each option a value that is not its default."""


class MoreOptions(AnimationOptions):
    zoom: Annotated[float, Field(gt=0)] = 1.0
    """Factor on the size of the result."""


def by_command_line(arguments, options=AnimationOptions):
    found = {}
    app = typer.Typer()

    def command(name: str, **fields: object) -> None:
        found.update(fields)

    app.command()(takes_animation_options(command, options))
    result = CliRunner().invoke(app, ["x", *arguments])
    assert result.exit_code == 0, result.output
    return options.model_validate(found)


def by_form(data, options=AnimationOptions):
    api = FastAPI()

    @api.post("/")
    def read(fields: Annotated[dict, Depends(form_fields(options))]) -> dict:
        return fields

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/", data=data)

    answer = asyncio.run(post())
    assert answer.status_code == 200, answer.text
    return options.model_validate(answer.json())


def as_arguments(name, value):
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", str(value)]


def test_every_option_has_another_value_to_be_tested_with():
    assert set(OTHERS) == set(AnimationOptions.model_fields)
    assert not [name for name, value in OTHERS.items() if getattr(AnimationOptions(), name) == value]


@pytest.mark.parametrize("name", OTHERS)
def test_an_option_arrives_through_every_door(name, tmp_path):
    expected = AnimationOptions(**{name: OTHERS[name]})
    assert by_command_line(as_arguments(name, OTHERS[name])) == expected
    assert by_form({name: str(OTHERS[name])}) == expected
    assert BatchItem(source="a", driving="b", **{name: OTHERS[name]}).options == expected
    assert read_options({name: str(OTHERS[name])}) == expected
    store = JobStore(open_database(sqlite_url(tmp_path / "jobs.sqlite")))
    order = Order(tmp_path, tmp_path, tmp_path / "o.mp4", expected, ModelVersion(name="lia", version="1"))
    store.submit({"mine": order}, max_num_queued=1)
    job = store.get("mine")
    assert job is not None
    assert job.order.options == expected


def test_a_new_option_is_one_field():
    assert by_command_line([], MoreOptions) == by_form({}, MoreOptions) == MoreOptions()
    assert by_command_line(["--zoom", "2.5"], MoreOptions) == MoreOptions(zoom=2.5)
    assert by_form({"zoom": "2.5"}, MoreOptions) == MoreOptions(zoom=2.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "sideways"}, "mode is 'sideways'; it is relative or absolute"),
        ({"face": "left"}, "face is 'left'; it is largest, all, or a number from 1"),
        ({"face": 0}, "face is 0; it is largest, all, or a number from 1"),
        ({"zoom": 2}, "got option 'zoom', which does not exist; the options are mode, start, face"),
        ({"crop": "perhaps"}, "crop is 'perhaps'; it is true or false"),
        ({"face": "all"}, "face is all without paste_back"),
        ({"face": 2, "crop": False}, "face is 2 without crop"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(values, message):
    with pytest.raises(ValueError, match=message):
        read_options(values)
