"""The messages that the page of troubleshooting explains are those of the code."""

import ast
import re

from tests.docs.pages import ROOT

PACKAGES = ("preprocessing", "lia_model", "pipelines")


def strings_of_the_code():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_each_message_is_in_the_code():
    headings = re.findall(r"^### `(.+)`$", (ROOT / "docs/pages/troubleshooting.md").read_text(), re.MULTILINE)
    assert len(headings) > 10
    code = "\0".join(strings_of_the_code())
    parts = [part.strip() for heading in headings for part in heading.split("…")]
    assert [part for part in parts if part not in code] == []
