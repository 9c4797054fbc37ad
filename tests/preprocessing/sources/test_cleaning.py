from dataclasses import replace

from preprocessing.media.boxes import Box
from preprocessing.sources.cleaning import clean_rows, write_rows
from preprocessing.sources.importer import ImportedRow
from preprocessing.sources.source_list import read_sources
from preprocessing.sources.splits import assign_splits


def row(line, video, identity=None, split="train", box=Box(10, 20, 110, 140), start_s=0.0):
    url = f"https://www.youtube.com/watch?v={video}"
    return ImportedRow(
        place=line,
        url=url,
        start_s=start_s,
        end_s=start_s + 4,
        box=box,
        frame_size=(640, 360),
        identity=identity,
        split=split,
    )


def test_duplicates_are_dropped_and_named():
    imported = clean_rows([row(2, "a"), row(3, "b"), row(4, "a"), row(5, "a", start_s=9.0)], fix_split=False)
    assert imported.duplicates == [4]
    assert [kept.place for kept in imported.rows] == [2, 3, 5]


def test_spellings_of_one_video_are_duplicates_and_leaks():
    video = "dQw4w9WgXcQ"
    short = replace(row(3, video), url=f"https://youtu.be/{video}")
    assert clean_rows([row(2, video), short], fix_split=False).duplicates == [3]
    leak = replace(short, split="test", start_s=9.0, end_s=10.0)
    (name,) = clean_rows([row(2, video), leak], fix_split=False).leaks
    assert name == f"video https://www.youtube.com/watch?v={video}"


def test_a_box_is_clipped_to_the_frame():
    imported = clean_rows([row(2, "a", box=Box(-5, 20, 700, 140)), row(3, "b")], fix_split=False)
    assert imported.clamped == [2]
    assert imported.rows[0].box == Box(0, 20, 640, 140)


def test_a_box_that_misses_the_frame_and_a_bad_url_leave_their_rows_out():
    rows = [row(2, "a"), row(3, "b", box=Box(640, 20, 700, 140)), replace(row(4, "c"), url="c")]
    imported = clean_rows(rows, fix_split=True)
    assert [kept.place for kept in imported.rows] == [2]
    outside, bad_url = imported.problems
    assert outside == "line 3: got a box outside the frame, 640-20-700-140; it must overlap it"
    assert bad_url.startswith("line 4: got ")


def test_a_box_in_a_frame_of_unknown_width_is_clipped_elsewhere_and_written_without_width(tmp_path):
    unknown = replace(row(2, "a", box=Box(-5, 20, 700, 400)), frame_size=(0, 360))
    imported = clean_rows([unknown], fix_split=False)
    assert (imported.clamped, imported.rows[0].box) == ([2], Box(0, 20, 700, 360))
    write_rows(tmp_path / "sources.csv", imported.rows)
    (source,) = read_sources(tmp_path / "sources.csv")
    assert (source.bbox, source.bbox_size) == ((0, 20, 700, 360), (0, 360))


def test_leaks_are_reported_and_left_where_they_are():
    rows = [
        row(2, "a", "x"),
        row(3, "b", "x", "test"),
        row(4, "c", "y"),
        row(5, "c", "y", "test", start_s=9.0),
    ]
    imported = clean_rows(rows, fix_split=False)
    expected = ["identity x", "identity y", "video https://www.youtube.com/watch?v=c"]
    assert imported.leaks == expected
    assert [kept.split for kept in imported.rows] == ["train", "test", "train", "test"]


def test_a_fixed_split_follows_a_person_through_shared_videos(tmp_path):
    # w shares a video with x, x shares one with y, and y is in test: none of the three may stay in train.
    rows = [
        row(2, "a", "w"),
        row(3, "a", "x", start_s=9.0),
        row(4, "b", "x"),
        row(5, "b", "y", start_s=9.0),
        row(6, "c", "y", "test"),
        row(7, "d", "z"),
    ]
    imported = clean_rows(rows, fix_split=True)
    assert [kept.split for kept in imported.rows] == ["test"] * 5 + ["train"]
    write_rows(tmp_path / "sources.csv", imported.rows)
    sources = read_sources(tmp_path / "sources.csv")
    assert len(sources) == 6
    splits = assign_splits(sources, test_fraction=0.5, seed=0)
    assert [splits[source.row_key] for source in sources] == ["test"] * 5 + ["train"]


def test_a_written_list_reads_back_as_its_rows(tmp_path):
    whole = ImportedRow(place=3, url="https://a.example/v.mp4", split="test")
    write_rows(tmp_path / "sources.csv", [row(2, "a", "x", box=Box(1.5, 2, 3, 4)), whole])
    first, second = read_sources(tmp_path / "sources.csv")
    assert (first.bbox, first.bbox_size, first.identity) == ((1.5, 2, 3, 4), (640, 360), "x")
    assert (first.start_s, first.end_s, first.split) == (0, 4, "train")
    assert (second.bbox, second.start_s, second.end_s, second.split) == (None, None, None, "test")
