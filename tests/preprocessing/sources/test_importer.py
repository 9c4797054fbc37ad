import pytest

from preprocessing.sources.importer import ImportedRow, local_row, read_rows, youtube_url
from preprocessing.sources.importers import importer_names, load_importer


def test_every_file_of_the_folder_is_an_importer():
    assert {"fomm-csv", "voxceleb-txt", "talkinghead1kh", "celebv-json", "hdtf", "folder", "frames"} <= set(
        importer_names()
    )
    folders = {name for name in importer_names() if load_importer(name).takes_folder}
    assert folders == {"voxceleb-txt", "hdtf", "vfhq", "folder", "frames"}


def test_bad_records_are_named_and_left_out(tmp_path):
    def read(record):
        if record < 0:
            raise ValueError(f"got {record}")
        return ImportedRow(place=record, url=f"https://a.example/{record}")

    records = [(f"line {number}", number) for number in (1, -2, 3, -4)]
    found = read_rows(tmp_path, records, read)
    assert [row.place for row in found] == [1, 3]
    assert found.problems == ["line -2: got -2", "line -4: got -4"]
    with pytest.raises(
        ValueError, match=r"got 2 bad rows and no other in .*: line -2: got -2 \| line -4: got"
    ):
        read_rows(tmp_path, records[1::2], read)
    with pytest.raises(ValueError, match="got no rows in"):
        read_rows(tmp_path, [], read)


def test_a_first_folder_names_the_split(tmp_path):
    splits = {
        name: local_row(tmp_path, tmp_path / name, None).split for name in ("test/a", "a/test", "train")
    }
    assert splits == {"test/a": "test", "a/test": "auto", "train": "train"}


@pytest.mark.parametrize("video", ["abc_-1", " abc_-1 ", "abc_-1#003"])
def test_a_youtube_id_becomes_a_url_without_its_part(video):
    assert youtube_url(video, "id") == "https://www.youtube.com/watch?v=abc_-1"


@pytest.mark.parametrize("video", ["", "a b", "https://youtu.be/a", "#1"])
def test_what_is_not_a_youtube_id_is_refused(video):
    with pytest.raises(ValueError, match=r"got reference .*; a YouTube id"):
        youtube_url(video, "reference")
