"""Progress of a long command, on stderr: a bar on a terminal, a line at every tenth elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.local.log_lines import tell

NUM_LINES = 10


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback `(done, total)`, which may be called as often as convenient."""
    if sys.stderr.isatty():
        with _bar(label) as show:
            yield show
    else:
        yield _lines(label)


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=max(total, 1))

        yield show


def _lines(label: str) -> Callable[[int, int], None]:
    tenths_shown = 0

    def show(done: int, total: int) -> None:
        nonlocal tenths_shown
        tenths = NUM_LINES * done // max(total, 1)
        if tenths > tenths_shown:
            tenths_shown = tenths
            tell(f"{label}: {done} of {total}")

    return show
