"""The messages that the page of troubleshooting explains are those of the code, or of Ray's native part."""

import ast
import mmap
import re
from pathlib import Path

import ray._raylet

from tests.docs.pages import ROOT

PACKAGES = ("preprocessing", "lia_model", "pipelines")


def strings_of_the_code():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_each_message_is_in_the_code_or_in_rays():
    headings = re.findall(r"^### `(.+)`$", (ROOT / "docs/pages/troubleshooting.md").read_text(), re.MULTILINE)
    assert len(headings) > 10
    code = "\0".join(strings_of_the_code())
    parts = [part.strip() for heading in headings for part in heading.split("…")]
    foreign = [part for part in parts if part not in code]
    with (
        Path(ray._raylet.__file__).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as native,
    ):
        assert [part for part in foreign if native.find(part.encode()) < 0] == []
    # So that a message of ours, of a few words, is not looked for in so large a file.
    assert len(foreign) < 5
