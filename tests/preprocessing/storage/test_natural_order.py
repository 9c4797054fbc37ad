from pathlib import Path

from preprocessing.storage.natural_order import natural_order


def test_numbers_in_names_are_compared_as_numbers():
    names = ["a/2.png", "a/10.png", "a/010b.png", "b/1.png", "3.png"]
    in_order = ["3.png", "a/2.png", "a/10.png", "a/010b.png", "b/1.png"]
    assert [str(path) for path in sorted(map(Path, names), key=natural_order)] == in_order
