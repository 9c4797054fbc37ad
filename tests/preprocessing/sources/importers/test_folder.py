import pytest

from preprocessing.sources.importers.folder import read_folder
from preprocessing.sources.source import canonical_url


def test_folders_say_split_and_person(tmp_path):
    names = ["a.mp4", "train/b.MP4", "test/Ada/c.webm", "Bo/session 1/d#1.mkv", "notes.txt", "empty.mp4"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty.mp4" else b"film")
    found = read_folder(tmp_path)
    rows = {row.place: row for row in found}
    assert {place: (row.split, row.identity) for place, row in rows.items()} == {
        "a.mp4": ("auto", None),
        "train/b.MP4": ("train", None),
        "test/Ada/c.webm": ("test", "Ada"),
        "Bo/session 1/d#1.mkv": ("auto", "Bo"),
    }
    url = rows["Bo/session 1/d#1.mkv"].url
    assert url == f"file://{tmp_path}/Bo/session%201/d%231.mkv"
    assert canonical_url(url) == url
    suffixes = ".avi, .m4v, .mkv, .mov, .mp4, .webm"
    assert found.skipped == ["empty.mp4: empty", f"notes.txt: no video by its name; {suffixes} are read"]


def test_a_folder_without_videos_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got no rows in"):
        read_folder(tmp_path)
