"""Prints reports of commands: a table on a terminal, aligned plain lines elsewhere, or one JSON document."""

import json
import sys
from collections.abc import Sequence

import typer

Row = tuple[str, ...]


def print_report(rows: Sequence[Row], document: object = None, as_json: bool = False) -> None:
    """Print `rows`, or with `as_json` the `document` that says the same."""
    if as_json:
        typer.echo(json.dumps(document, indent=1))
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        for line in aligned(rows):
            typer.echo(line)


def aligned(rows: Sequence[Row]) -> list[str]:
    """Return one line a row, its columns padded to equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in lines]


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for _ in rows[0] if rows else ():
        table.add_column(overflow="fold")
    for row in rows:
        # Text, since rich would read brackets in a path or an error as markup.
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
