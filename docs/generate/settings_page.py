"""The page of all settings: params.yaml from its classes and the demo's recipe, and the LIA_* variables."""

import ast
import inspect
import itertools
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.generate.tables import table
from pipelines.environment import Environment
from pipelines.params import Params
from pipelines.presets import read_preset

_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥", "max_length": "length ≤"}
_HEAD = ("key", "type", "range", "demo", "meaning")


def settings_page() -> str:
    """Return the page in Markdown."""
    demo = yaml.safe_load(read_preset("demo"))
    parts = [
        "# Settings\n",
        "Generated from the settings classes. `params.yaml` must hold every key: there are no hidden "
        "defaults, and an unknown key is an error. The column *demo* is the value that `lia preset demo` "
        "writes. Units stand in the names: `_s` seconds, `_px` pixels, `_bytes` bytes, `_deg` degrees, "
        "`_fps` frames a second; `num_` counts.\n",
    ]
    for name, section in Params.model_fields.items():
        parts.append(f"## {name}\n\n{section.description or ''}\n")
        rows = _rows(_model_of(section.annotation), demo[name], ())
        parts.append(table(_HEAD, rows))
    parts.append(
        "## Environment variables\n\nRead once at the start of a command; a misspelt one is warned about.\n"
    )
    parts.append(table(("variable", "type", "range", "default", "meaning"), _variables()))
    return "\n".join(parts)


def _rows(model: type[BaseModel], demo: Any, prefix: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - parsed YAML
    for name, field in model.model_fields.items():
        value = demo.get(name) if isinstance(demo, dict) else None
        key = (*prefix, name)
        nested = _model_of(field.annotation)
        meaning = field.description or ""
        if nested is not BaseModel:
            words = meaning or " ".join((nested.__doc__ or "").split("\n\n")[0].split())
            yield (f"`{'.'.join(key)}`", "section", "", "", words)
            yield from _rows(nested, value, key)
        else:
            yield (
                f"`{'.'.join(key)}`",
                type_name(field.annotation),
                range_of(field),
                f"`{_shown(value)}`",
                meaning,
            )


def _variables() -> Iterator[tuple[str, ...]]:
    for name, field in Environment.model_fields.items():
        if name == "paths":
            continue
        default = "see there" if field.is_required() else f"`{_shown(field.default)}`"
        meaning = attribute_docstrings(Environment)[name]
        yield (f"`LIA_{name.upper()}`", type_name(field.annotation), range_of(field), default, meaning)


def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring under each field of `model`, also where pydantic does not keep them."""
    body = typing.cast(ast.ClassDef, ast.parse(inspect.getsource(model)).body[0]).body
    found = {}
    for one, after in itertools.pairwise(body):
        if (
            isinstance(one, ast.AnnAssign)
            and isinstance(one.target, ast.Name)
            and isinstance(after, ast.Expr)
        ):
            found[one.target.id] = str(ast.literal_eval(after.value))
    return found


def _model_of(annotation: Any) -> type[BaseModel]:  # noqa: ANN401 - any type hint
    """Return the settings class in a type hint; BaseModel itself if there is none."""
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return BaseModel


def type_name(annotation: Any) -> str:  # noqa: ANN401 - any type hint
    """Return a type hint as a reader of YAML understands it."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return type_name(args[0])
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(one) for one in args)
    if origin is dict:
        return f"mapping of {type_name(args[0])} to {type_name(args[1])}"
    if origin in (tuple, list):
        return f"list of {type_name(args[0])}"
    names = {"NoneType": "null", "str": "text", "SecretStr": "text", "Path": "path", "bool": "true or false"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, {"int": "integer", "float": "number"}.get(name, name))


def range_of(field: FieldInfo) -> str:
    """Return the bounds of a field, also those inside a union such as `PositiveInt | None`."""
    found = [*field.metadata, *_metadata(field.annotation)]
    bounds = [
        f"{sign} {getattr(one, name)}"
        for one in found
        for name, sign in _BOUNDS.items()
        if getattr(one, name, None) is not None
    ]
    return ", ".join(dict.fromkeys(bounds))


def _metadata(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - any type hint
    if typing.get_origin(annotation) is Annotated:
        for one in annotation.__metadata__:
            yield from getattr(one, "metadata", [one])
    for one in typing.get_args(annotation):
        if typing.get_origin(annotation) is not Literal:
            yield from _metadata(one)


def _shown(value: Any) -> str:  # noqa: ANN401 - parsed YAML
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
