"""Changes settings in params.yaml by their dotted names, keeping its comments and its layout."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from pipelines.params import check_params
from preprocessing.storage.files import write_atomically

_ANY_WIDTH = 10_000
_NULL = "tag:yaml.org,2002:null"


def override_params(path: Path, overrides: Mapping[str, Any]) -> None:
    """Set settings in params.yaml, after checking the whole.

    Args:
        path: of params.yaml, which is replaced.
        overrides: values by dotted name, such as `train.num_steps`.

    Raises:
        ValueError: a name is no setting, or a value is not allowed; the file is then unchanged.
    """
    notation = YAML()
    notation.preserve_quotes = True
    notation.width = _ANY_WIDTH
    notation.indent(mapping=2, sequence=4, offset=2)
    notation.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar(_NULL, "null")
    )
    content = notation.load(path.read_text())
    for name, value in overrides.items():
        _set(content, name, value)
    text = io.StringIO()
    notation.dump(content, text)
    check_params(yaml.safe_load(text.getvalue()), path)
    with write_atomically(path) as file:
        file.write_text(text.getvalue())


def _set(content: Any, name: str, value: object) -> None:  # noqa: ANN401 - what a YAML file holds
    *sections, key = name.split(".")
    section = content
    for part in sections:
        section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise ValueError(
            f"got the override {name!r}, but params.yaml has no section {'.'.join(sections)!r}: write a "
            "setting's dotted name, such as train.num_steps"
        )
    section[key] = value
