import pytest

from preprocessing.sources.importers.frames import read_frame_folders


def test_every_folder_of_pictures_is_a_clip(tmp_path):
    clips = {
        "train/id10280#NXjT3732Ekg#001093#001192.mp4": ("train", "id10280"),
        "test/walk": ("test", None),
        "more/deep/clip": ("auto", None),
    }
    for clip in clips:
        (tmp_path / clip).mkdir(parents=True)
        for number in range(3):
            (tmp_path / clip / f"{number:07d}.png").touch()
    (tmp_path / "empty").mkdir()
    rows = {row.place: row for row in read_frame_folders(tmp_path)}
    assert {place: (row.split, row.identity) for place, row in rows.items()} == clips
    url = rows["train/id10280#NXjT3732Ekg#001093#001192.mp4"].url
    assert url == f"file://{tmp_path}/train/id10280%23NXjT3732Ekg%23001093%23001192.mp4"


def test_folders_are_sorted_by_their_numbers(tmp_path):
    for number in (10, 9, 1):
        (tmp_path / f"clip{number}").mkdir()
        (tmp_path / f"clip{number}/0.png").touch()
    assert [row.place for row in read_frame_folders(tmp_path)] == ["clip1", "clip9", "clip10"]


def test_one_clip_alone_may_be_given(tmp_path):
    (tmp_path / "ann#1").mkdir()
    (tmp_path / "ann#1/0000000.png").touch()
    (row,) = read_frame_folders(tmp_path / "ann#1")
    assert (row.split, row.identity, row.url) == ("auto", "ann", f"file://{tmp_path}/ann%231")


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got no rows in"):
        read_frame_folders(tmp_path)
