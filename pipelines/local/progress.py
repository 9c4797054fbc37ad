"""How far a long command is: a bar on a terminal, a line every tenth otherwise; on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

NUM_LINES = 10


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that is told what is done and the whole, as often as one likes."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    with typer.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield show


def _lines(label: str) -> Callable[[int, int], None]:
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        tenth = NUM_LINES * done // max(total, 1)
        if tenth > told:
            told = tenth
            typer.echo(f"{label}: {done} of {total}", err=True)

    return tell
