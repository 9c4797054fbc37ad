import hashlib

import pytest

from lia_model.animation.options import AnimationOptions
from pipelines.commands.batch.rows import BatchRow, output_name, read_batch, read_results, write_results

OTHERS = {
    "mode": "absolute",
    "start": "best",
    "face": "2",
    "paste_back": "true",
    "side_by_side": "true",
    "crop": "false",
    "square": "10:20:300",
    "fps": "29.97",
    "size_px": "64",
    "directions": '"1,smile"',
    "exclude_directions": "2",
    "strict": "true",
}
"""For each option a cell that is not its default."""


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_bad_line_fails_its_own_row_with_the_reason(tmp_path):
    manifest = write(
        tmp_path / "bad.csv",
        "source,driving,mode",
        "a.png,b.mp4,relative",
        ",b.mp4,",
        "a.png,b.mp4,sideways",
        "a.png,,",
        "a.png,b.mp4,relative,more",
    )
    good, *bad = read_batch(manifest)
    assert (good.status, good.rejected) == ("missing", None)
    assert {row.status for row in bad} == {"failed"}
    assert [row.error for row in bad] == [
        "line 3: source is empty: give a path",
        "line 4: mode is 'sideways'; it is relative or absolute",
        "line 5: driving is empty: give a path",
        "line 6: more fields than the header: quote fields with commas",
    ]
    assert len({row.key for row in (good, *bad)}) == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [("driving\nb.mp4\n", "no column source"), ("source,driving\n", "no rows"), ("", "source")],
)
def test_a_missing_or_invalid_csv_file_is_refused(tmp_path, content, words):
    manifest = tmp_path / "batch.csv"
    manifest.write_text(content)
    with pytest.raises(ValueError, match=words):
        read_batch(manifest)
    with pytest.raises(ValueError, match=r"nowhere\.csv, which does not exist"):
        read_batch(tmp_path / "nowhere.csv")


def test_paths_are_relative_to_the_folder_of_the_csv_file(tmp_path):
    manifest = write(tmp_path / "batch.csv", "source,driving", "a.png,/b.mp4")
    assert read_batch(manifest) == [BatchRow(str(tmp_path / "a.png"), "/b.mp4")]


def test_blanks_and_the_case_of_the_header_do_not_count(tmp_path):
    manifest = write(tmp_path / "batch.csv", "Source, driving , Mode", 'a.png , "b, c.mp4", absolute')
    row = BatchRow(str(tmp_path / "a.png"), str(tmp_path / "b, c.mp4"), AnimationOptions(mode="absolute"))
    assert read_batch(manifest) == [row]


def test_an_unknown_column_is_warned_about_and_columns_of_results_are_not(tmp_path, caplog):
    read_batch(write(tmp_path / "batch.csv", "source,driving,modes,status", "a.png,b.mp4,absolute,failed"))
    (message,) = caplog.messages
    assert message.endswith("batch.csv: unknown column 'modes' has no effect; did you mean mode?")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused_in_one_line_that_names_the_place(tmp_path, encoding):
    manifest = tmp_path / "batch.csv"
    manifest.write_bytes("source,driving\na.png,b.mp4\nä.png,b.mp4\n".encode(encoding))
    line = {"latin-1": 3, "utf-16": 1}[encoding]
    with pytest.raises(ValueError, match=rf"batch\.csv with bytes that are not UTF-8 in line {line}: save"):
        read_batch(manifest)


def test_every_option_is_a_column(tmp_path):
    assert set(OTHERS) == set(AnimationOptions.model_fields)
    for name, cell in OTHERS.items():
        manifest = write(
            tmp_path / "batch.csv", f"source,{name},driving", f"a.png,{cell},b.mp4", "a.png,,b.mp4"
        )
        chosen, default = read_batch(manifest)
        value = cell.strip('"')
        assert chosen.options == AnimationOptions.model_validate({name: value}) != AnimationOptions()
        assert default.options == AnimationOptions()


def test_options_that_contradict_each_other_are_a_bad_line(tmp_path):
    manifest = write(tmp_path / "batch.csv", "source,driving,face", "a.png,b.mp4,all")
    (row,) = read_batch(manifest)
    assert row.error.startswith("line 2: face is all without paste_back")


def test_output_names_differ_where_any_option_differs():
    rows = [
        BatchRow("/x/my face!.png", "/y/.mp4", AnimationOptions.model_validate({name: cell}))
        for name, cell in {**OTHERS, "mode": "relative"}.items()
    ] + [BatchRow("/x/my face!.png", "/y/.mp4", AnimationOptions(mode="absolute"))]
    assert len({output_name(row) for row in rows}) == len(rows)
    assert all(output_name(row).startswith("my_face__by_") for row in rows)


def test_the_name_of_a_row_with_a_mode_alone_is_the_hash_of_its_three_cells():
    row = BatchRow("/a.png", "/b.mp4", AnimationOptions(mode="absolute"))
    assert output_name(row) == "a_by_b_" + hashlib.sha256(b"/a.png\0/b.mp4\0absolute").hexdigest()[:8]


def test_results_read_back_as_they_were_written(tmp_path):
    rows = [
        BatchRow("/a.png", "/b.mp4", AnimationOptions(face=2), "succeeded", "/o.mp4", 7),
        BatchRow("/a.png", "/b.mp4", AnimationOptions(crop=False), "failed", error="no_face: none, sorry"),
        BatchRow("/c.png", "/b.mp4"),
        BatchRow("/c.png", "/b.mp4", status="failed", error="line 5: bad", rejected=(("mode", "sideways"),)),
    ]
    write_results(tmp_path / "results.csv", rows)
    assert read_results(tmp_path / "results.csv") == rows


def test_results_have_columns_for_the_mode_and_for_changed_options(tmp_path):
    write_results(tmp_path / "results.csv", [BatchRow("/a.png", "/b.mp4")])
    assert (tmp_path / "results.csv").read_text().splitlines()[
        0
    ] == "source,driving,mode,status,output,frames,error"
    write_results(tmp_path / "results.csv", [BatchRow("/a.png", "/b.mp4", AnimationOptions(start="best"))])
    assert (
        (tmp_path / "results.csv").read_text().splitlines()[0].startswith("source,driving,mode,start,status,")
    )
