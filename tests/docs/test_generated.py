"""Generated pages name everything that the code has."""

import xml.etree.ElementTree as ET

import yaml

from docs.generate.architecture_picture import architecture_picture
from docs.generate.commands_page import commands_page
from docs.generate.http_page import http_page, openapi
from docs.generate.settings_page import settings_page
from pipelines.environment import Environment
from pipelines.params import Params
from pipelines.presets import read_preset
from tests.docs.pages import ROOT

DEMO = yaml.safe_load(read_preset("demo"))


def test_every_key_of_the_recipe_has_a_row_with_its_value():
    page = settings_page()
    assert "| `crop.size_px` | integer | ≥ 8 | `64` | Side of the stored frames. |" in page
    assert "| `batch_size` | integer | ≥ 1 | `16` | Driving frames per forward pass. |" in page

    def keys(section, prefix=""):
        for key, value in section.items():
            yield prefix + key
            # A mapping that is itself a value has no rows.
            if isinstance(value, dict) and key != "max_per_hour":
                yield from keys(value, f"{prefix}{key}.")

    for section in DEMO.values():
        for key in keys(section):
            assert f"| `{key}` |" in page


def test_every_variable_has_a_row_with_a_meaning():
    rows = [line for line in settings_page().splitlines() if line.startswith("| `LIA_")]
    assert len(rows) == len(Environment.model_fields) - 1
    assert all(len(row.split(" | ")[-1]) > 10 for row in rows)


def test_every_call_is_described():
    params = Params.model_validate(DEMO)
    page = http_page(params)
    for path, methods in openapi(params)["paths"].items():
        for method in methods:
            assert f"## {method.upper()} {path}\n" in page
    assert "## GET /v1/directions" in page
    assert "Scope: `submit`." in page


def test_every_option_of_a_command_is_described():
    page = commands_page()
    assert "## lia token create" in page
    assert "| `--precision` |" in page
    assert "## lia animate" in page


def test_the_picture_holds_every_room():
    picture = ET.fromstring(architecture_picture(ROOT / "pyproject.toml"))
    texts = {node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"pipelines", "lia_model", "preprocessing", "training", "serving", "faces", "settings"} <= texts
