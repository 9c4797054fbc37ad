import pytest

from preprocessing.media.boxes import Box
from preprocessing.sources.importers.fomm_csv import read_fomm

HEADER = "video_id,start,end,bbox,fps,width,height,partition"


@pytest.fixture
def read(tmp_path):
    def read_lines(*lines, header=HEADER):
        path = tmp_path / "metadata.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return read_fomm(path)

    return read_lines


def test_frames_become_seconds_at_the_rows_own_rate(read):
    (row,) = read("abc,50,150,10-20-110-140,25.0,640,360,train")
    assert (row.url, row.start_s, row.end_s) == ("https://www.youtube.com/watch?v=abc", 2.0, 6.0)
    assert (row.box, row.frame_size, row.split) == (Box(10, 20, 110, 140), (640, 360), "train")
    assert row.identity is None


def test_zero_to_zero_is_the_whole_video(read):
    (row,) = read("abc,0,0,10-20-110-140,30,640,360,test")
    assert (row.start_s, row.end_s) == (None, None)


def test_a_person_is_an_identity_and_columns_go_by_name(read):
    (row,) = read(
        "id7,train,360,640,25,1-2-3-4,9,5,abc",
        header="person_id,partition,height,width,fps,bbox,end,start,video_id",
    )
    assert (row.identity, row.box, row.start_s) == ("id7", Box(1, 2, 3, 4), 0.2)


def test_a_box_may_begin_left_of_the_frame(read):
    (row,) = read("abc,0,9,-5--2-30-40,25,640,360,train")
    assert row.box == Box(-5, -2, 30, 40)


def test_taichi_numbers_the_parts_of_a_video(read):
    one, two = read("abc#001,0,9,1-2-3-4,25,640,360,train", "abc#002,9,18,1-2-3-4,25,640,360,train")
    assert one.url == two.url == "https://www.youtube.com/watch?v=abc"


def test_bad_rows_are_named_and_left_out(read):
    good = "abc,0,9,1-2-3-4,25,640,360,train"
    found = read(
        good,
        "abc,x,9,1-2-3-4,25,640,360,train",
        "abc,9,9,1-2-3-4,25,640,360,train",
        "abc,0,9,1-2-3,25,640,360,train",
        "abc,0,9,1-2-3-4,0,640,360,train",
        "abc,0,9,1-2-3-4,25,640,360,dev",
        "id7#abc,0,9,1-2-3-4,25,640,360,train",
        "abc,0,9",
        good,
    )
    assert [row.place for row in found] == [2, 10]
    assert [problem.partition(": got ")[0] for problem in found.problems] == [
        f"line {line}" for line in range(3, 10)
    ]


def test_a_list_without_a_usable_row_is_refused_with_all_reasons(read):
    with pytest.raises(ValueError, match=r"got 2 bad rows and no other in .*line 2: got .* \| line 3: got"):
        read("abc,0,9", "abc,9,9,1-2-3-4,25,640,360,train")


def test_a_file_with_other_columns_is_refused(read):
    with pytest.raises(ValueError, match="without the columns bbox, fps"):
        read("a,0,9,640,360,train", header="video_id,start,end,width,height,partition")
    with pytest.raises(ValueError, match="got no rows"):
        read()
