import pytest
import typer
from typer.testing import CliRunner

from pipelines.command_line import arguments


@pytest.fixture
def invoke():
    """Function that runs a command with one shared option; returns the exit code and the values it got."""

    def run(kind, default, *words):
        received = []

        def command(value=default):
            received.append(value)

        command.__annotations__ = {"value": getattr(arguments, kind), "return": None}
        app = typer.Typer()
        app.command()(command)
        return CliRunner().invoke(app, words).exit_code, received

    return run


@pytest.mark.parametrize(
    ("kind", "default", "words", "value"),
    [
        ("AsJson", False, ["--json"], True),
        ("Yes", False, ["-y"], True),
        ("Yes", False, ["--yes"], True),
        ("Model", None, ["--value", "m"], "m"),
        ("ReleaseName", None, ["--name", "n"], "n"),
        ("Crop", True, ["--no-value"], False),
        ("Convert", False, ["--convert"], True),
        ("Arithmetic", "auto", ["--precision", "fp16"], "fp16"),
        ("Device", "auto", ["--value", "cuda:1"], "cuda:1"),
    ],
)
def test_an_option_sets_its_value(invoke, kind, default, words, value):
    # What has no flag of its own is called after its parameter, here `value`.
    assert invoke(kind, default) == (0, [default])
    assert invoke(kind, default, *words) == (0, [value])


@pytest.mark.parametrize(
    ("kind", "words"),
    [("Arithmetic", ["--precision", "fp8"]), ("AsJson", ["--no-json"]), ("Convert", ["--no-convert"])],
)
def test_what_is_no_value_or_switch_is_wrong_use(invoke, kind, words):
    assert invoke(kind, False, *words) == (2, [])
