"""Names that the manual and the README give in passing: each exists in the code."""

import ast
import importlib
import re
import shlex
from functools import cache

import pytest
import typer
import yaml

from docs.generate.commands_page import commands
from docs.generate.http_page import openapi
from docs.generate.settings_page import settings_page
from infra.stack.settings import StackSettings
from pipelines.cli import app
from pipelines.environment import Environment, variable_name
from pipelines.params import Params
from pipelines.presets import read_preset
from preprocessing.sources.importers import importer_names
from tests.docs.pages import PAGES, ROOT

TEXTS = {path.name: path.read_text() for path in [*PAGES, ROOT / "README.md"]}
PACKAGES = ("preprocessing", "lia_model", "pipelines", "infra", "tests", "docs")
COMMANDS = dict(commands())
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_PLACEHOLDER = re.compile(r"…|<|\b[A-Z][A-Z0-9]{2,}\b|\b(?:ID|DIR|URL)\b")
"""What a reader puts something else for, such as KEY or <actor>."""


def inline(shape):
    """Every (page, text) between backticks, outside of fenced blocks, that the regular expression matches."""
    return [
        (page, " ".join(text.split()))
        for page, content in TEXTS.items()
        for text in _INLINE.findall(_FENCE.sub("", content))
        if re.fullmatch(shape, " ".join(text.split()))
    ]


def missing(found, known):
    assert len(found) > 3
    return [f"{page}: {text}" for page, text in found if not known(text)]


@cache
def strings():
    """Every text in the code and in its settings files, one below the other."""
    parts = []
    for package in PACKAGES[:4]:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts += [
                node.value
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
    files = ("params.yaml", "dvc.yaml", "prefect.yaml", "Makefile", ".gitignore", "docs/mkdocs.yml")
    return "\n".join([*parts, *((ROOT / name).read_text() for name in files)])


@cache
def keys():
    """Every dotted key of params.yaml."""
    found = set()
    for part in settings_page().split("\n## ")[1:]:
        section = part.split("\n", 1)[0]
        found |= {
            section,
            *(f"{section}.{key}" for key in re.findall(r"^\| `([\w.]+)` \|", part, re.MULTILINE)),
        }
    return found


def test_every_variable_that_is_named_is_read():
    words = [(page, word) for page, text in TEXTS.items() for word in re.findall(r"\bLIA_[A-Z_]+\b", text)]
    ours = {variable_name(field) for field in Environment.model_fields} - {"LIA_PATHS"}
    assert missing(words, ours.__contains__) == []
    stack = [(page, word) for page, text in TEXTS.items() for word in re.findall(r"\bSTACK_[A-Z_]+\b", text)]
    known = {f"STACK_{field.upper()}" for field in StackSettings.model_fields}
    known |= set(re.findall(r"STACK_[A-Z_]+", (ROOT / "infra/compose.yaml").read_text()))
    known |= set(re.findall(r"STACK_[A-Z_]+", (ROOT / "infra/stack.env").read_text()))
    assert missing(stack, known.__contains__) == []


def test_every_setting_that_is_named_exists():
    sections = "|".join(Params.model_fields)
    assert missing(inline(rf"(?:{sections})\.[a-z0-9_.]+"), keys().__contains__) == []


def test_the_settings_of_examples_exist():
    for page, block in [
        (page, block)
        for page, text in TEXTS.items()
        for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]:
        shown = yaml.safe_load(block)
        dotted = [f"{name}.{key}" for name in Params.model_fields for key in shown.get(name, {})]
        dotted += list(shown.get("space", {}))
        assert dotted, block
        assert [key for key in dotted if key not in keys()] == [], page


def test_every_call_that_is_named_is_in_the_openapi_document():
    document = openapi(Params.model_validate(yaml.safe_load(read_preset("demo"))))["paths"]
    # Whatever a part of a path is called.
    known = {
        (method.upper(), re.sub(r"{\w+}", "{id}", path))
        for path, methods in document.items()
        for method in methods
    }
    known |= {("GET", path) for path in ("/", "/healthz", "/metrics", "/openapi.json", "/docs")}

    def is_known(text):
        method, _, path = text.rpartition(" ")
        path = path.partition("?")[0]
        return (method, path) in known if method else path in {path for _, path in known}

    # MLflow's own.
    found = [
        one
        for one in inline(r"(?:(?:GET|PUT|POST|DELETE) )?/[\w/{}.]*(?:\?.*)?")
        if one[1] != "POST /invocations"
    ]
    assert missing(found, is_known) == []
    assert not is_known("DELETE /v1/models")


def parses(line):
    """Whether a command of the text, in which arguments may be missing, has known words and options."""
    words = shlex.split(line)
    found = typer.main.get_command(app)
    while len(words) > 1 and words[1] in getattr(found, "commands", {}):
        found = found.commands[words.pop(1)]
    arguments = [re.sub(r"^(FILE|MY|URL|SPEC)\b.*", r"\1", word) for word in words[1:]]
    if hasattr(found, "commands"):
        return not [word for word in arguments if word not in ("--help", "--traceback", "COMMAND")]
    options = {name for one in found.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    return not [word for word in arguments if word.startswith("-") and word not in options]


def test_every_command_that_is_named_parses():
    assert missing(inline(r"lia(?: .+)?"), parses) == []
    assert not parses("lia nonesuch")
    assert not parses("lia doctor --nonesuch")


OTHER_OPTIONS = {"--env-manager", "--quick", "--sections"}
"""Options of MLflow and of our benchmarks."""


def test_every_option_that_is_named_belongs_to_a_command():
    options = {
        name
        for command in COMMANDS.values()
        for one in command.params
        for name in (*one.opts, *one.secondary_opts)
    }
    known = options | OTHER_OPTIONS | {"--help"}
    found = [(page, text.split()[0]) for page, text in inline(r"--[a-z][a-z-]*(?: .*)?")]
    assert missing(found, known.__contains__) == []


def test_every_file_of_the_project_that_is_named_exists():
    tops = "|".join(PACKAGES)
    found = [one for one in inline(rf"(?:{tops})/[\w./-]*") if not re.search("my_|NAME", one[1])]
    assert missing(found, lambda text: text == "infra/secrets.env" or (ROOT / text).exists()) == []


def test_every_file_that_a_program_is_said_to_write_is_named_in_the_code():
    found = inline(r"(?:data|runs|out|metrics|checkpoints|models)/[\w./<>{}-]+")
    names = [
        (page, name)
        for page, text in found
        for name in text.split("/")
        if name and not _PLACEHOLDER.search(name) and not re.fullmatch(r"[<{].*", name)
    ]
    # The code makes it of the folder's name.
    made = {".shards.verified.json": ".verified.json"}
    assert missing(names, lambda name: made.get(name, name) in strings()) == []


def test_every_port_is_the_one_of_a_service():
    found = [(page, port) for page, text in TEXTS.items() for port in re.findall(r"127\.0\.0\.1:(\d+)", text)]
    found += [
        (page, port) for page, text in TEXTS.items() for port in re.findall(r"(?<!-)\bport (\d{4,5})\b", text)
    ]
    ours = {str(field.default) for name, field in Environment.model_fields.items() if name.endswith("_port")}
    stack = re.findall(r"_PORT=(\d+)", (ROOT / "infra/stack.env").read_text())
    assert missing(found, {*ours, *stack}.__contains__) == []


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    found = [(page, text.split()[1]) for page, text in inline(r"make [a-z-]+(?: .*)?")]
    assert missing(found, targets.__contains__) == []


def test_every_deployment_that_is_named_exists():
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    known = {f"{one['entrypoint'].split(':')[1].replace('_', '-')}/{one['name']}" for one in deployed}
    found = inline(r"[a-z-]+/(?:local|nightly)")
    assert missing(found, known.__contains__) == []
    assert {name for _, name in found} == known


@pytest.mark.parametrize("page", ["videos.md", "README.md"])
def test_every_format_of_a_published_list_is_named(page):
    assert [name for name in importer_names() if name not in TEXTS[page]] == []


def test_the_secrets_of_the_containers_are_those_that_they_read():
    block = re.search(r"for name in ([\w\s\\\\]+); do", TEXTS["deploying.md"])
    named = {f"STACK_{word}" for word in block[1].replace("\\", " ").split()}
    settings = {line.split("=")[0] for line in (ROOT / "infra/stack.env").read_text().splitlines()}
    read = set(re.findall(r"STACK_[A-Z0-9_]+", (ROOT / "infra/compose.yaml").read_text()))
    assert read - settings == named


def python_blocks():
    return [
        (page, block)
        for page, text in TEXTS.items()
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.parametrize(("page", "block"), python_blocks())
def test_what_an_example_in_python_imports_and_calls_exists(page, block):
    names = {}
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            names |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
        elif isinstance(node, ast.Import):
            names |= {
                one.name.split(".")[0]: importlib.import_module(one.name.split(".")[0]) for one in node.names
            }
    assert names
    for node in ast.walk(ast.parse(block)):
        # Also of objects: `animator.animate` for an `Animator`, by its name in lower case.
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owners = [value for name, value in names.items() if name.lower() == node.value.id.lower()]
            assert all(hasattr(owner, node.attr) for owner in owners), f"{page}: {ast.unparse(node)}"
