import zipfile
from pathlib import Path

import jinja2
import pytest

from preprocessing.html_page import Cell, Column, Histogram, Strip, Table, TableRow, data_uri, render
from tests.parsed_page import ParsedPage

TEMPLATE = """{% extends "base.html" %}{% import "macros.html" as macros %}
{% block content %}{{ macros.table(table) }}{{ macros.histogram(histogram) }}{{ macros.strip(strip) }}
{% endblock %}"""
TABLE = Table(
    "<caption>",
    [Column("<name>", "text"), Column("value"), Column("remark", "long")],
    [TableRow(["<one>", Cell("1", "<0 to 2>"), "<i>"]), TableRow(["two", "2", ""], is_emphasised=True)],
)
HISTOGRAM = Histogram("<title>", {"<a>": 3, "b": 0})
STRIP = Strip("k'><b>", "<title>", "<remark>", ["<source>", "result"], data_uri(b"\0", "image/png"))


@pytest.fixture
def page(tmp_path):
    (tmp_path / "page.html").write_text(TEMPLATE)
    return render(tmp_path / "page.html", table=TABLE, histogram=HISTOGRAM, strip=STRIP)


def test_everything_that_is_laid_out_is_shown_and_escaped(page):
    parsed = ParsedPage(page)
    assert parsed.tables == {
        "<caption>": [["<name>", "value", "remark"], ["<one>", "1 <0 to 2>", "<i>"], ["two", "2", ""]]
    }
    assert parsed.histograms == {"<title>": {"<a>": 3, "b": 0}}
    (figure,) = parsed.figures.items()
    assert figure[0] == "k'><b>"
    assert figure[1]["caption"] == "<title> <remark>"
    assert figure[1]["images"][0]["alt"] == "<title>. Evenly spaced frames in 2 rows: <source>, result."
    assert {"i", "b"}.isdisjoint(parsed.attributes)


def test_a_bar_is_as_long_as_its_count():
    assert HISTOGRAM.largest == 3
    assert Histogram("", {"none": 0}).largest == 1
    assert Histogram("", {}).largest == 1


def test_the_page_opens_offline(page):
    assert ParsedPage(page).addresses == ["data:image/png;base64,AA=="]
    assert "url(" not in page
    assert "@import" not in page


def test_a_value_that_is_missing_is_an_error_and_not_an_empty_place(tmp_path):
    (tmp_path / "page.html").write_text("{{ nowhere }}")
    with pytest.raises(jinja2.UndefinedError, match="nowhere"):
        render(tmp_path / "page.html")


@pytest.mark.slow
def test_every_template_is_installed_with_the_package(tmp_path):
    import shutil
    import subprocess
    import sys

    checkout = Path(__file__).parents[2]
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, tmp_path)
    for room in ("preprocessing", "lia_model", "pipelines"):
        shutil.copytree(checkout / room, tmp_path / room)
    wanted = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html")}
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    (tmp_path / "dist").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    with zipfile.ZipFile(tmp_path / "dist" / done.stdout.split()[-1]) as wheel:
        assert wanted <= set(wheel.namelist())
