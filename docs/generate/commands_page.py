"""The page of all commands, from the command line itself."""

from typing import Any

import typer

from docs.generate.tables import table
from pipelines.cli import app


def commands_page() -> str:
    """Return the page in Markdown."""
    parts = [
        "# Commands\n",
        "Generated from the command line. Exit codes: 0 success, 2 wrong use or bad input (one line that "
        "says what is allowed), 1 failure.\n",
    ]
    for words, command in commands():
        rows = [(_spelling(one), _default(one), _help(one)) for one in command.params if one.name != "help"]
        parts.append(f"## {' '.join(words)}\n\n{command.help or ''}\n")
        if rows:
            parts.append(table(("argument or option", "default", "meaning"), rows))
    return "\n".join(parts)


def commands() -> list[tuple[tuple[str, ...], Any]]:
    """Return every command that can be run, with its words."""
    return list(_below(("lia",), typer.main.get_command(app)))


def _below(words: tuple[str, ...], command: Any) -> list[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - typer's own click
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(words, command)]
    return [found for name, one in inner.items() for found in _below((*words, name), one)]


def _spelling(parameter: Any) -> str:  # noqa: ANN401
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name).upper()}`"
    return "`" + ", ".join([*parameter.opts, *parameter.secondary_opts]) + "`"


def _default(parameter: Any) -> str:  # noqa: ANN401
    value = parameter.default
    shown = value is not None and not callable(value) and value not in ((), [], "", False)
    return f"`{getattr(value, 'value', value)}`" if shown else ("required" if parameter.required else "")


def _help(parameter: Any) -> str:  # noqa: ANN401
    return getattr(parameter, "help", "") or ""
