import logging
from pathlib import Path

import pytest

from preprocessing.sources.columns import read_header

PATH, KNOWN = Path("list.csv"), ("url", "start_s", "split")


def test_case_and_blanks_of_known_names_do_not_count(caplog):
    assert read_header([" URL", "Start_S ", "split"], KNOWN, PATH) == ["url", "start_s", "split"]
    assert caplog.messages == []


def test_unknown_names_are_kept_and_warned_about_once_with_the_nearest_known_one(caplog):
    with caplog.at_level(logging.WARNING):
        assert read_header(["url", "Starts", " Mood", ""], KNOWN, PATH) == ["url", "Starts", "Mood", ""]
    assert caplog.messages == [
        "list.csv: unknown column 'Starts' has no effect; did you mean start_s?",
        "list.csv: unknown column 'Mood' has no effect",
    ]


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match=r"got list\.csv with more than one column split"):
        read_header(["url", "split", " Split"], KNOWN, PATH)
