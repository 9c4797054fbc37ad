import json
import sys

from pipelines.local.reports import aligned, print_report

ROWS = [("ok", "disk", "97 GB free"), ("missing", "a [b]", "x" * 200)]


def test_columns_line_up_and_lines_have_no_trailing_blanks() -> None:
    first, second = aligned([("a", "longer", "end"), ("bcd", "e", "")])
    assert first.index("longer") == second.index("e")
    assert first == "a    longer  end"
    assert second == "bcd  e"
    assert aligned([]) == []
    print_report([])


def test_without_a_terminal_every_row_is_one_line_however_long(capsys) -> None:
    print_report(ROWS)
    assert capsys.readouterr().out.splitlines() == aligned(ROWS)


def test_on_a_terminal_the_table_holds_every_cell(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_report(ROWS)
    out = capsys.readouterr().out
    assert "a [b]" in out
    assert out.count("x") == 200


def test_json_is_the_document(capsys) -> None:
    print_report(ROWS, {"disk": 97}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"disk": 97}
