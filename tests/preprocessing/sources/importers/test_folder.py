import pytest

from preprocessing.sources.importers.folder import read_folder
from preprocessing.sources.source import canonical_url


def test_folders_say_split_and_person(tmp_path):
    names = ["a.mp4", "train/b.MP4", "test/Ada/c.webm", "Bo/session 1/d#1.mkv", "notes.txt", "train/x.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    rows = {row.place: row for row in read_folder(tmp_path)}
    assert {place: (row.split, row.identity) for place, row in rows.items()} == {
        "a.mp4": ("auto", None),
        "train/b.MP4": ("train", None),
        "test/Ada/c.webm": ("test", "Ada"),
        "Bo/session 1/d#1.mkv": ("auto", "Bo"),
    }
    url = rows["Bo/session 1/d#1.mkv"].url
    assert url == f"file://{tmp_path}/Bo/session%201/d%231.mkv"
    assert canonical_url(url) == url


def test_a_folder_without_videos_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got no rows in"):
        read_folder(tmp_path)
