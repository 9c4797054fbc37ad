import pytest

from preprocessing.media.boxes import Box
from preprocessing.sources.importers.talkinghead1kh import read_talkinghead


@pytest.fixture
def read(tmp_path):
    def read(*lines, name="train_video_tubes.txt"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return read_talkinghead(path)

    return read


def test_frames_count_from_the_minute_of_the_chunk(read):
    (row,) = read("--Y9imYnfBw_0002,720,1280,50,149,300,20,700,420")
    assert row.url == "https://www.youtube.com/watch?v=--Y9imYnfBw"
    assert (row.start_s, row.end_s) == (122.0, 126.0)
    assert (row.box, row.frame_size) == (Box(300, 20, 700, 420), (1280, 720))
    assert (row.split, row.identity) == ("train", None)


def test_an_id_may_have_underscores_and_the_validation_list_is_the_test(read):
    (row,) = read("a_b_0001_0000,720,1280,0,9,0,0,9,9", name="val_video_tubes.txt")
    assert row.url.endswith("=a_b_0001")
    assert row.split == "test"


def test_bad_lines_are_named_and_left_out(read):
    found = read(
        "abc_0000,720,1280,0,9,0,0,9,9",
        "abc,720,1280,0,9,0,0,9,9",
        "abc_0000,720,1280,0,9,0,0,9",
        "",
        "abc_0000,720,1280,9,9,0,0,9,9",
        "abc_0000,720,x,0,9,0,0,9,9",
    )
    assert [row.place for row in found] == [1]
    assert [problem.partition(": got ")[0] for problem in found.problems] == [
        f"line {line}" for line in (2, 3, 5, 6)
    ]


def test_an_empty_list_is_refused(read):
    with pytest.raises(ValueError, match="got no rows"):
        read("")
