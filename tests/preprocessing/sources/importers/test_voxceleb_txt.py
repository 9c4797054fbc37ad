import pytest

from preprocessing.media.boxes import Box
from preprocessing.sources.importers.voxceleb_txt import read_voxceleb

# The published layout, with its tabs and trailing blanks.
TRACK = """Identity  : \tA.J._Buckley \r
Reference : \t1zcIwhmdeo4\r
Offset    : \t 16\r
FV Conf   : \t16.665\t(1)\r
ASD Conf  : \t4.655\r
\r
FRAME \tX \tY \tW \tH \r
{frames}"""
FRACTIONS = "000250 \t0.250 \t0.100 \t0.300 \t0.500 \r\n000251 \t0.200 \t0.150 \t0.300 \t0.500 \r\n"
PIXELS = "000250 \t200 \t40 \t100 \t120 \r\n000274 \t210 \t30 \t100 \t120 \r\n"


@pytest.fixture
def read(tmp_path):
    def read(**files):
        for name, text in files.items():
            path = tmp_path / "vox" / "id10001" / "1zcIwhmdeo4" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8-sig")
        return read_voxceleb(tmp_path / "vox")

    return read


def test_fractions_become_parts_of_a_nominal_frame(read):
    (row,) = read(a=TRACK.format(frames=FRACTIONS))
    assert row.url == "https://www.youtube.com/watch?v=1zcIwhmdeo4"
    assert (row.start_s, row.end_s) == (10.0, 252 / 25)
    assert (row.box, row.frame_size) == (Box(2000, 1000, 5500, 6500), (10_000, 10_000))
    assert (row.identity, row.split) == ("A.J._Buckley", "auto")


def test_pixels_are_those_of_a_frame_360_high_of_the_videos_aspect(read):
    (row,) = read(a=TRACK.format(frames=PIXELS))
    assert (row.box, row.frame_size) == (Box(200, 30, 310, 160), (0, 360))
    assert (row.start_s, row.end_s) == (10.0, 11.0)


def test_bad_files_are_named_and_left_out(read):
    found = read(
        a=TRACK.format(frames=PIXELS),
        b=TRACK.format(frames=""),
        c=TRACK.format(frames="1 2 3 4\n"),
        d=TRACK.format(frames="2 1 1 9 9\n1 1 1 9 9\n"),
        e=TRACK.format(frames=PIXELS).replace("Reference", "Somewhere"),
        f=TRACK.format(frames=PIXELS).replace("1zcIwhmdeo4", "no id"),
    )
    assert [row.place for row in found] == ["id10001/1zcIwhmdeo4/a.txt"]
    assert [problem.partition(": got ")[0] for problem in found.problems] == [
        f"id10001/1zcIwhmdeo4/{name}.txt" for name in "bcdef"
    ]


def test_one_file_and_no_file(read, tmp_path):
    read(a=TRACK.format(frames=PIXELS))
    (row,) = read_voxceleb(tmp_path / "vox" / "id10001" / "1zcIwhmdeo4" / "a.txt")
    assert row.place == "a.txt"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"got no .txt file in"):
        read_voxceleb(tmp_path / "empty")
