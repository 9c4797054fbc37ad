import pytest

from preprocessing.media.boxes import Box
from preprocessing.sources.importers.hdtf import read_hdtf

URL = "https://www.youtube.com/watch?v="
FILES = {
    "RD_video_url.txt": f"Radio11 {URL}a\nRadio24 {URL}b\n",
    "RD_annotion_time.txt": "Radio11.mp4 00:30-01:00 01:01:30-01:02:30\n",
    "RD_resolution.txt": "Radio11.mp4 720\n",
    "RD_crop_wh.txt": "Radio11_0.mp4 412 599 10 598\n",
    "WDA_video_url.txt": f"Ada {URL}c\n",
    "WDA_annotion_time.txt": "Ada.mp4 0:10-0:20\n",
}


@pytest.fixture
def read(tmp_path):
    def read(file=".", **changes):
        for name, text in (FILES | {f"{key}.txt": value for key, value in changes.items()}).items():
            (tmp_path / name).write_text(text)
        return read_hdtf(tmp_path / file)

    return read


def test_every_clip_of_every_subset_is_a_row(read):
    one, two, three = read()
    assert [row.url[-1] for row in (one, two, three)] == ["a", "a", "c"]
    assert [(row.start_s, row.end_s) for row in (one, two, three)] == [(30, 60), (3690, 3750), (10, 20)]
    assert (one.box, one.frame_size) == (Box(412, 10, 1011, 608), (0, 720))
    assert (two.box, three.box) == (None, None)
    assert [row.identity for row in (one, three)] == ["RD_Radio11", "WDA_Ada"]


def test_one_subset_alone(read):
    assert len(read("WDA_video_url.txt")) == 1


def test_bad_rows_are_named_and_left_out(read):
    found = read(
        RD_video_url=f"Radio11 {URL}a\nRadio24\nRadio3 {URL}d\n",
        RD_annotion_time="Radio11.mp4 00:30-01:00 soon\nRadio3.mp4 1:00-0:30\n",
        RD_resolution="Radio11.mp4 high\n",
    )
    assert [row.place for row in found] == ["WDA_video_url.txt: Ada, clip 0"]
    assert sorted(problem.partition(": got ")[0] for problem in found.problems) == [
        f"RD_video_url.txt: {place}"
        for place in ("Radio11, clip 0", "Radio11, clip 1", "Radio24", "Radio3, clip 0")
    ]


def test_a_height_of_zero_costs_the_clips_of_that_video_alone(read):
    found = read(RD_resolution="Radio11.mp4 0\n")
    assert [row.url[-1] for row in found] == ["a", "c"]
    (problem,) = found.problems
    assert "Radio11, clip 0: got crop '412 599 10 598' in a frame 0; " in problem


def test_another_file_is_refused(read, tmp_path):
    read()
    with pytest.raises(ValueError, match=r"_video_url\.txt of HDTF"):
        read_hdtf(tmp_path / "RD_crop_wh.txt")
