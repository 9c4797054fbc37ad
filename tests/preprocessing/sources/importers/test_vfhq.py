import pytest

from preprocessing.media.boxes import Box
from preprocessing.sources.importers.vfhq import read_vfhq

NAME = "Clip+abcdefghi-_+P0+C2+F300-600.txt"
TEXT = "#Basic\nH 1080\nW 1920\nFPS 30.0\n\n#Crop\nCROP 400 100 1000 700\n"


@pytest.fixture
def read(tmp_path):
    def read(files, at="."):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return read_vfhq(tmp_path / at)

    return read


def test_a_clips_file_is_a_row(read):
    (row,) = read({NAME: TEXT})
    assert row.url == "https://www.youtube.com/watch?v=abcdefghi-_"
    assert (row.start_s, row.end_s) == (10, 20)
    assert (row.box, row.frame_size) == (Box(400, 100, 1000, 700), (1920, 1080))
    # The next video's person 0 is somebody else.
    assert row.identity is None
    assert list(read({}, NAME)) == [row]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("clip_1.txt", TEXT, "another name"),
        ("Clip+a+P0+C2+F600-300.txt", TEXT, "first < last"),
        ("Clip+a+P0+C0+F0-9.txt", TEXT.replace("FPS 30.0", "FPS"), "no line FPS"),
        ("Clip+a+P0+C1+F0-9.txt", TEXT.replace("CROP 400 100 1000 700", "CROP 400 100"), "no line CROP"),
        ("Clip+a+P0+C3+F0-9.txt", TEXT.replace("1000 700", "300 700"), "left < right"),
        ("Clip+a b+P0+C3+F0-9.txt", TEXT, "a YouTube id"),
    ],
)
def test_bad_files_are_named_and_left_out(read, name, text, words):
    found = read({NAME: TEXT, name: text})
    assert [row.place for row in found] == [NAME]
    (problem,) = found.problems
    assert problem.startswith(f"{name}: got ")
    assert words in problem


def test_a_folder_without_lists_is_refused(read):
    with pytest.raises(ValueError, match=r"got no \.txt file"):
        read({"readme.md": "x"})
