"""Commands in the documentation: those of `lia` parse, and blocks marked as tested run."""

import re
import shlex

import pytest
import yaml

from docs.generate.commands_page import commands
from tests.docs.pages import ROOT, blocks

COMMANDS = dict(commands())
NOT_AT_HAND = (
    "needs a Docker daemon, a cluster or a cloud account; the files are validated by tests/infra/files"
)
OTHERS = {
    "make demo": "tests/pipelines/demo/test_walkthrough.py runs the same steps",
    "make stack": "tests/drills/test_stack.py",
    "make stack-stop": "tests/drills/test_stack.py",
    "python -m infra.stack": "tests/drills/test_stack.py",
    "python -m lia_model.training.loop": "tests/lia_model/training/test_loop.py",
    "prefect": "tests/pipelines/deployments/test_deployments.py",
    "mlflow models serve": "tests/drills/test_plain_mlflow.py",
    "dvc repro": "tests/end_to_end/test_loop.py",
    'eval "$(lia env)"': "tests/pipelines/deployments/prefect_project.py",
    "source .venv/bin/activate": "made by make setup",
    "curl": "tests/lia_model/serving sends the same request",
    **dict.fromkeys(("for name in", "docker", "aws", "kubectl", "sed"), NOT_AT_HAND),
}
"""Beginnings of the commands that are no tested block and not of `lia`: the test that runs them or what
they call, or why there is none."""


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


def other_commands():
    """Every command of the pages that is not of `lia` and in no block that runs, continued lines as one."""
    tested = {block for _, block in blocks(tested_only=True)}
    for page, block in blocks():
        lines = re.sub(r"(\\|(?<=\|))\n", " ", block).splitlines()
        yield from ((page, line) for line in lines if block not in tested and not line.startswith("lia "))


def test_every_other_command_runs_in_a_test_or_has_a_reason():
    unknown = [
        f"{page}: {line}"
        for page, line in other_commands()
        if line.strip() and not any(line.startswith(beginning) for beginning in OTHERS)
    ]
    assert unknown == []
    used = {beginning for _, line in other_commands() for beginning in OTHERS if line.startswith(beginning)}
    assert used == OTHERS.keys()
    named = (word for reason in OTHERS.values() for word in reason.split() if word.startswith("tests/"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_the_other_commands_name_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    flows = {entry["entrypoint"].split(":")[1].replace("_", "-") + "/" + entry["name"] for entry in deployed}
    for page, line in other_commands():
        for target in re.findall(r"^make ([a-z-]+)", line):
            assert target in targets, f"{page}: {line}"
        for flow in re.findall(r"deployment run (\S+)", line):
            assert flow in flows, f"{page}: {line}"
        for path in re.findall(r"infra/[\w./-]+", line):
            # Made by the reader, of the block before.
            assert path == "infra/secrets.env" or (ROOT / path).exists(), f"{page}: {line}"
