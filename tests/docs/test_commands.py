"""Commands in the documentation: those of `lia` parse, and blocks marked as tested run."""

import re
import shlex

import pytest

from docs.generate.commands_page import commands
from tests.docs.pages import ROOT, blocks

COMMANDS = dict(commands())


def shown_commands():
    """Every line of `lia` in the pages and in the README's indented blocks, without its comment."""
    lines = [(page, line) for page, block in blocks() for line in block.splitlines()]
    lines += [
        ("README.md", line) for line in re.findall(r"^    (lia .+)$", (ROOT / "README.md").read_text(), re.M)
    ]
    return [(page, line) for page, line in lines if line.startswith("lia ")]


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_a_command_of_the_documentation_parses(page, line):
    words = shlex.split(line, comments=True)
    if words == ["lia", "--help"]:
        return
    name = next((tuple(words[:length]) for length in (3, 2) if tuple(words[:length]) in COMMANDS), None)
    assert name is not None, f"{page}: no such command: {line}"
    arguments = [word for word in words[len(name) :] if word != "--help"]
    # Raises where an option or a value is wrong, or, without --help, where an argument is missing.
    COMMANDS[name].make_context(" ".join(name), arguments, resilient_parsing="--help" in words)


def test_a_wrong_option_does_not_parse():
    """The test above can fail."""
    with pytest.raises(Exception, match="No such option"):
        COMMANDS["lia", "doctor"].make_context("lia doctor", ["--nonesuch"])


def test_blocks_marked_as_tested_run(new_project):
    project = new_project("docs")
    tested = blocks(tested_only=True)
    assert tested
    for _, block in tested:
        project.run("bash", "-euc", block)
