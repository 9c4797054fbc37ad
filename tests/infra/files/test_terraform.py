"""infra/terraform: parsed, its references followed; the providers that would validate it are not at hand."""

import re
import shutil
import subprocess

import hcl2
import pytest

from tests.conftest import CHECKOUT
from tests.infra.variables import SECRETS, stack_variables

FOLDER = CHECKOUT / "infra/terraform"
FILES = sorted(FOLDER.glob("*.tf"))


def text():
    """Return all files without comments."""
    return "\n".join(re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE) for path in FILES)


def test_every_file_is_read():
    for path in FILES:
        with path.open() as file:
            assert hcl2.load(file)


def test_terraform_would_not_format_them_otherwise():
    if shutil.which("terraform") is None:
        pytest.skip(
            "terraform is not installed: get it from its vendor, or let the next machine with it check"
        )
    done = subprocess.run(["terraform", "fmt", "-check", "-diff", FOLDER], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_what_is_referenced_is_declared_and_what_is_declared_is_used():
    content = text()
    resources = {".".join(found) for found in re.findall(r'resource "(\w+)" "(\w+)"', content)}
    kinds = {name.split(".")[0] for name in resources}
    named = set(re.findall(rf"\b((?:{'|'.join(kinds)})\.\w+)\b", content))
    assert named <= resources
    variables = set(re.findall(r'variable "(\w+)"', content))
    assert set(re.findall(r"\bvar\.(\w+)", content)) == variables
    assert set(re.findall(r"\blocal\.(\w+)", content)) <= set(
        re.findall(r"^  (\w+) += ", content, re.MULTILINE)
    )
    providers = set(re.findall(r"^    (\w+) += \{", content, re.MULTILINE))
    assert {kind.split("_")[0] for kind in kinds} <= providers


def test_it_makes_the_databases_and_secrets_of_the_stack():
    content = text()
    assert set(re.findall(r"local\.stack\.(\w+)", content)) <= stack_variables().keys()
    (generated,) = re.findall(r"generated = toset\(\[(.*?)\]\)", content, re.DOTALL)
    made = {f"STACK_{name}" for name in re.findall(r'"(\w+)"', generated)}
    made |= set(re.findall(r"^      (STACK_\w+) =", content, re.MULTILINE))
    assert made == SECRETS
