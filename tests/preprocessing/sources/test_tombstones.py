from datetime import date

import pytest

from preprocessing.sources.tombstones import add_tombstones, read_tombstones

ONE, OTHER = "a" * 40, "b" * 40


def test_keys_are_added_once_and_read_back(tmp_path):
    path = tmp_path / "tombstones.csv"
    path.write_text("key,date\n")
    add_tombstones(path, {ONE}, date(2026, 1, 2))
    add_tombstones(path, [OTHER, ONE], date(2026, 3, 4))
    assert path.read_text() == f"key,date\n{ONE},2026-01-02\n{OTHER},2026-03-04\n"
    assert read_tombstones(path) == {ONE, OTHER}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "restore it with git"),
        ("", "'key,date' is needed"),
        ("url\nhttp://a.example/x\n", "with the header 'url'"),
        (f"key,date\n{ONE},2026-01-02\nhttp://a.example/x,2026-01-02\n", "line 3"),
        (f"key,date\n{ONE[:-1]},2026-01-02\n", "line 2"),
    ],
)
def test_an_incomplete_file_of_tombstones_is_refused(tmp_path, text, message):
    path = tmp_path / "tombstones.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_tombstones(path)
    with pytest.raises(ValueError, match=message):
        add_tombstones(path, {OTHER}, date(2026, 1, 2))
    assert (path.read_text() if path.exists() else None) == text
