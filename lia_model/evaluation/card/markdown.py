"""The card of a version as Markdown, and as the description that MLflow shows with the version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from lia_model.evaluation.card.facts import CardFacts, Section
from preprocessing.html_page import Cell, Table

MAX_DESCRIPTION_CHARS = 5000
"""Of a version in MLflow's database."""


def card_markdown(facts: CardFacts, pictures: Sequence[tuple[str, str]]) -> str:
    """Return the card.

    Args:
        facts: what is on record.
        pictures: a title and an address each.
    """
    lines = [f"# {facts.title}", "", facts.summary, ""]
    for section in facts.sections():
        lines += _section(section)
    if pictures:
        lines += ["## Pictures", "", "Rows: source, driving, result.", ""]
        lines += [line for title, address in pictures for line in (f"![{_plain(title)}]({address})", "")]
    return "\n".join(lines).rstrip() + "\n"


def card_description(markdown: str, run_id: str, file: str) -> str:
    """Return the card for a version's description: shortened, if need be, with the place of the whole."""
    if len(markdown) <= MAX_DESCRIPTION_CHARS:
        return markdown
    end = f"\n\nShortened; the whole card is {file} of the run {run_id}.\n"
    kept = markdown[: MAX_DESCRIPTION_CHARS - len(end)]
    # A part of a line would break a table or an address.
    return kept.rpartition("\n")[0] + end


def artifact_address(run_id: str, path: str) -> str:
    """Return the address of a run's file, relative to the address of MLflow's pages."""
    return f"get-artifact?{urlencode({'path': path, 'run_uuid': run_id})}"


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    for paragraph in section.paragraphs:
        yield from (paragraph, "")
    yield from (f"- **{what}**: {_plain(value)}" for what, value in section.terms)
    yield from (f"- {_plain(point)}" for point in section.points)
    if section.terms or section.points:
        yield ""
    for table in section.tables:
        yield from (f"**{table.caption}**", "", *_table(table), "")
    if section.code:
        yield from ("```python", section.code.rstrip(), "```", "")


def _table(table: Table) -> Iterator[str]:
    yield _row([column.title for column in table.columns])
    yield "|" + "---|" * len(table.columns)
    yield from (_row([_cell(cell) for cell in row.cells]) for row in table.rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _cell(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else f"{cell.text} ({cell.note})"


def _plain(text: str) -> str:
    """Keep names from other systems, such as a licence, from being read as markup."""
    for mark in ("\\", "*", "_", "`", "[", "]", "<", ">"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
