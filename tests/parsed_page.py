"""What an HTML page of ours shows, for assertions: its text, tables, histograms, figures and addresses."""

from html.parser import HTMLParser
from typing import Any

VOID = ("meta", "img", "br")


class ParsedPage(HTMLParser):
    """Text, tables and figures of a page; checks that its tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        """Everything but style sheets, whitespace collapsed."""
        self.tables: dict[str, list[list[str]]] = {}
        """Rows of cells by caption, the head first."""
        self.histograms: dict[str, dict[str, int]] = {}
        """Count by name, by title."""
        self.figures: dict[str, dict[str, Any]] = {}
        """Caption and image attributes by id."""
        self.headings: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str | None] = []
        self.attributes: dict[str, dict[str, str | None]] = {}
        """Of the last tag of each kind."""
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = self._figure = ""
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join(self.text.split())
        for figure in self.figures.values():
            figure["caption"] = " ".join(figure["caption"].split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = self.attributes[tag] = dict(attrs)
        if tag not in VOID:
            self._open.append(tag)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        if tag == "figure":
            self._figure = str(values["id"])
            self.figures[self._figure] = {"caption": "", "images": []}
        elif tag == "img":
            self.images.append(values)
            if "figure" in self._open:
                self.figures[self._figure]["images"].append(values)
        elif tag == "br":
            self.handle_data(" ")
        elif tag in ("h1", "h2", "h3"):
            self.headings.append("")
        elif tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "table" and self._caption:
            self.tables[self._caption] = self._rows
        elif tag == "table":
            self.histograms[self.headings[-1]] = {name: int(count) for name, count, _ in self._rows}

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data + " "
        if "caption" in self._open:
            self._caption += data
        elif "figcaption" in self._open:
            self.figures[self._figure]["caption"] += data
        elif self._open and self._open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data
        elif "td" in self._open or "th" in self._open:
            self._rows[-1][-1] += data if self._open[-1] != "span" else f" {data}"
