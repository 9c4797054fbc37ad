"""HTML pages in one file that opens offline, and what they are made of: tables, histograms, strips.

A page is a jinja2 template beside the module that gathers its facts. It extends `templates/base.html`, the
one style of all pages, and lays these values out with `templates/macros.html`. Everything is escaped;
pictures are inside the page.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    title: str
    kind: Literal["number", "text", "long"] = "number"
    """Numbers are aligned to the right; long text wraps."""


@dataclass(frozen=True)
class Cell:
    """Text with a second, smaller line below it."""

    text: str
    note: str


@dataclass(frozen=True)
class TableRow:
    """One line of a table; its first cell names it."""

    cells: Sequence[str | Cell]
    is_emphasised: bool = False


@dataclass(frozen=True)
class Table:
    """A table that scrolls by itself where it is wider than the page."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[TableRow]
    is_long: bool = False
    """Limit its height and keep its head in view."""


@dataclass(frozen=True)
class Histogram:
    """Counts by name, drawn as bars."""

    title: str
    counts: Mapping[str, int]

    @property
    def largest(self) -> int:
        """Return the count of the longest bar, at least 1."""
        return max([*self.counts.values(), 1])


@dataclass(frozen=True)
class Strip:
    """A picture of evenly spaced frames, one row each for source, driving and results."""

    shows: str
    """Id of the figure: the key of the clip it shows, by which a takedown finds it."""
    title: str
    remark: str
    row_labels: Sequence[str]
    picture: str
    """A data URI."""


def data_uri(content: bytes, media_type: str) -> str:
    """Return the URI of a file that is part of the page, such as `image/jpeg`."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def render(template: Path, **values: object) -> str:
    """Return the page of a template; a value that the template uses and does not get is an error."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(**values)
