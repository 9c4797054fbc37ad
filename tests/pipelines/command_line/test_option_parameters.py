import inspect
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from lia_model.animation.options import AnimationOptions
from pipelines.command_line.option_parameters import takes_animation_options


class Options(AnimationOptions):
    zoom: Annotated[float, Field(gt=0)] = 1.0
    """Factor on the size of the result."""
    corner: Literal["left", "right"] = "left"
    """Where the mark stands."""


@pytest.fixture
def invoke():
    """Function that runs a command with `Options`; returns the result and what the command received."""

    def run(*arguments):
        received = {}

        def command(name: str, count: Annotated[int, typer.Option()] = 1, **fields: object) -> None:
            received.update(fields, name=name, count=count)

        app = typer.Typer()
        app.command()(takes_animation_options(command, Options))
        return CliRunner().invoke(app, arguments), received

    return run


def test_the_commands_own_parameters_stay_and_each_field_has_its_default(invoke):
    result, received = invoke("x", "--count", "3")
    assert result.exit_code == 0, result.output
    assert received.pop("name") == "x"
    assert received.pop("count") == 3
    assert Options.model_validate(received) == Options()
    assert received.keys() == Options.model_fields.keys()


def test_values_arrive_in_their_types(invoke):
    words = "x --zoom 2.5 --corner right --paste-back --face 2 --no-crop"
    _, received = invoke(*words.split())
    assert (received["zoom"], received["corner"], received["paste_back"]) == (2.5, "right", True)
    assert (received["face"], received["crop"]) == ("2", False)


@pytest.mark.parametrize(
    "bad", [("--zoom", "much"), ("--corner", "middle"), ("--no-paste-back",), ("--mode", "sideways")]
)
def test_a_value_that_typer_can_judge_is_wrong_use(invoke, bad):
    result, received = invoke("x", *bad)
    assert (result.exit_code, received) == (2, {})


def test_the_help_of_an_option_is_its_fields_docstring():
    def command(**fields: object) -> None:
        del fields

    parameters = inspect.signature(takes_animation_options(command, Options)).parameters
    told = {name: one.annotation.__metadata__[0].help for name, one in parameters.items()}
    assert told["zoom"] == "Factor on the size of the result."
    assert all(told.values())
