import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.commands.sources import count_lists
from preprocessing.ledger import Download, SourceRow, write_sources
from preprocessing.outcome import Absence, DownloadStatus
from preprocessing.sources.importers import importer_names
from preprocessing.sources.source import Source, source_key
from preprocessing.sources.source_list import read_sources

ROOT = Path(__file__).parents[3]
HEADER = "video_id,start,end,bbox,fps,width,height,partition,person_id"
CLEAN = ["a,0,100,10-20-110-140,25,640,360,train,x", "b,0,100,10-20-700-140,25,640,360,test,y"]
LEAKING = [*CLEAN, "c,0,100,10-20-110-140,25,640,360,train,y"]


def run(tmp_path, lines, *options):
    file, output = tmp_path / "metadata.csv", tmp_path / "data" / "sources.csv"
    file.write_text("\n".join([HEADER, *lines]) + "\n")
    arguments = ["sources", "import", str(file), "--format", "fomm-csv", "-o", str(output), *options]
    return CliRunner().invoke(app, arguments), output


def test_a_published_list_becomes_ours_with_a_report(tmp_path):
    done, output = run(tmp_path, [*CLEAN, CLEAN[0]], "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["num_rows"], report["splits"]) == (2, {"train": 1, "test": 1, "auto": 0})
    assert (report["duplicates"], report["clamped"], report["fixed_leaks"]) == ([4], [3], [])
    assert [source.identity for source in read_sources(output)] == ["x", "y"]


def test_a_leak_is_refused_without_fix_split(tmp_path):
    output = tmp_path / "data" / "sources.csv"
    output.parent.mkdir()
    output.write_text("url\nhttps://kept.example/v.mp4\n")
    refused, _ = run(tmp_path, LEAKING)
    assert isinstance(refused.exception, ValueError)
    assert "got 1 identities or videos in both train and test, such as identity y" in str(refused.exception)
    assert [path.name for path in output.parent.iterdir()] == ["sources.csv"]
    assert "kept.example" in output.read_text()
    fixed, _ = run(tmp_path, LEAKING, "--fix-split")
    assert "in both splits, moved to test: identity y" in fixed.output
    assert [source.split for source in read_sources(output)] == ["train", "test", "test"]


def test_every_format_is_written_as_a_list_that_our_reader_accepts(tmp_path):
    folder = tmp_path / "id00001" / "abc"
    folder.mkdir(parents=True)
    (folder / "00001.txt").write_text("Identity : x\nReference : abc\n\nFRAME X Y W H\n0 0.1 0.2 0.3 1.5\n")
    (tmp_path / "val_tubes.txt").write_text("abc_0000,360,640,0,50,10,20,110,140\n")
    clip = {
        "ytb_id": "abc",
        "duration": {"start_sec": 1, "end_sec": 2},
        "bbox": {"top": 0.1, "bottom": 0.5, "left": 0.2, "right": 0.9},
    }
    (tmp_path / "celebv.json").write_text(json.dumps({"clips": {"abc_0": clip}}))
    (tmp_path / "RD_video_url.txt").write_text("Radio1 https://www.youtube.com/watch?v=abc\n")
    (tmp_path / "RD_annotion_time.txt").write_text("Radio1.mp4 00:30-01:00\n")
    (tmp_path / "Clip+abc+P0+C0+F0-50.txt").write_text("H 360\nW 640\nFPS 25\nCROP 1 2 99 100\n")
    expected = {
        ("voxceleb-txt", "id00001"): ({"train": 0, "test": 0, "auto": 1}, ["abc/00001.txt"]),
        ("talkinghead1kh", "val_tubes.txt"): ({"train": 0, "test": 1, "auto": 0}, []),
        ("celebv-json", "celebv.json"): ({"train": 0, "test": 0, "auto": 1}, []),
        ("hdtf", "."): ({"train": 0, "test": 0, "auto": 1}, []),
        ("vfhq", "Clip+abc+P0+C0+F0-50.txt"): ({"train": 0, "test": 0, "auto": 1}, []),
    }
    for (name, file), (splits, clamped) in expected.items():
        output = tmp_path / f"{name}.csv"
        arguments = ["sources", "import", str(tmp_path / file), "--format", name, "-o", str(output), "--json"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (name, done.exception)
        report = json.loads(done.stdout)
        assert (report["splits"], report["clamped"]) == (splits, clamped)
        assert len(read_sources(output)) == 1


def test_rows_carry_the_name_of_their_list(tmp_path):
    _, output = run(tmp_path, CLEAN)
    assert {source.list for source in read_sources(output)} == {"metadata"}
    run(tmp_path, CLEAN, "--list", "VoxCeleb 1")
    assert {source.list for source in read_sources(output)} == {"VoxCeleb 1"}


OK, GONE = DownloadStatus.VERIFIED, DownloadStatus.PERMANENT
FOUND = [
    ("https://www.youtube.com/watch?v=aaaaaaaaaa1", "vox", OK, None),
    ("https://youtu.be/aaaaaaaaaa2", "vox", GONE, Absence.REMOVED),
    ("https://www.youtube.com/watch?v=aaaaaaaaaa3", "vox", GONE, Absence.PRIVATE),
    ("https://m.youtube.com/watch?v=aaaaaaaaaa4", "vox", GONE, Absence.AGE_RESTRICTED),
    ("https://www.youtube.com/watch?v=aaaaaaaaaa5", "vox", GONE, Absence.BLOCKED),
    ("https://www.youtube.com/watch?v=aaaaaaaaaa6", "vox", GONE, None),
    ("https://www.youtube.com/watch?v=aaaaaaaaaa7", "vox", DownloadStatus.STOP_THE_QUEUE, None),
    ("https://www.youtube.com/watch?v=aaaaaaaaaa8", "vox", DownloadStatus.FORGOTTEN, None),
    ("https://www.example.org/v.mp4", "vox", DownloadStatus.RETRYABLE, None),
    ("s3://films/v.mp4", "ours", OK, None),
    ("file:///films/v.mp4", None, DownloadStatus.INVALID, None),
]


@pytest.fixture
def ledger(tmp_path):
    rows = [
        SourceRow(Source(url=url, key=source_key(url), list=name), Download(status=status, absence=absence))
        for url, name, status, absence in FOUND
    ]
    path = tmp_path / "sources.parquet"
    write_sources(path, rows)
    return path


def test_each_row_of_a_list_counts_once_by_what_became_of_it(ledger):
    counts = count_lists(ledger, {"youtube.com": 250})
    assert [(one.list, one.host, one.rows) for one in counts] == [
        ("", "this machine", 1), ("ours", "films", 1), ("vox", "example.org", 1), ("vox", "youtube.com", 8)
    ]  # fmt: skip
    for one in counts:
        assert one.rows == sum(value for value in one.model_dump(exclude={"list", "host", "rows"}).values())
    youtube = counts[-1].model_dump(exclude={"list", "host", "rows"})
    assert youtube == dict.fromkeys(youtube, 1)
    assert (counts[0].left_out, counts[1].exist, counts[2].unknown) == (1, 1, 1)


def test_a_ledger_of_an_earlier_version_names_no_list_and_no_reason(ledger):
    table = pq.read_table(ledger)
    pq.write_table(table.drop_columns(["list", "absence"]), ledger)
    counts = count_lists(ledger, {"youtube.com": 250})
    assert {one.list for one in counts} == {""}
    assert {one.host: one.failed for one in counts}["youtube.com"] == 5


def test_the_report_is_a_table_or_one_document(ledger, tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "data/ledger").mkdir(parents=True)
    ledger.rename(tmp_path / "data/ledger/sources.parquet")
    monkeypatch.chdir(tmp_path)
    # Commands set the variables of the tools they start.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    table, document = (
        CliRunner().invoke(app, ["sources", "report", *options]) for options in ([], ["--json"])
    )
    assert (table.exit_code, document.exit_code) == (0, 0), (table.exception, document.exception)
    lines = [line.split() for line in table.output.splitlines()]
    assert lines[0][:5] == ["list", "host", "rows", "exist", "removed"]
    assert lines[-1] == ["vox", "youtube.com", "8", *["1"] * 8]
    assert json.loads(document.stdout)[-1]["age_restricted"] == 1


def test_bad_rows_are_left_out_and_named_unless_strict(tmp_path):
    lines = [*CLEAN, "c,0,100,700-20-800-140,25,640,360,train,z", "d,9,9,1-2-3-4,25,640,360,train,z"]
    done, output = run(tmp_path, lines)
    assert done.exit_code == 0, done.output
    assert "bad rows left out: 2\n  line 5: got start 9 and end 9" in done.output
    assert "\n  line 4: got a box outside the frame" in done.output
    assert [source.identity for source in read_sources(output)] == ["x", "y"]
    output.unlink()
    refused, _ = run(tmp_path, lines, "--strict")
    assert isinstance(refused.exception, ValueError)
    assert "got 2 bad rows in" in str(refused.exception)
    assert not output.exists()


def test_a_long_report_is_cut_short_and_the_json_document_is_not(tmp_path):
    bad = [f"v{number},9,9,1-2-3-4,25,640,360,train,z" for number in range(50)]
    done, _ = run(tmp_path, [*CLEAN, *[CLEAN[0]] * 30, *bad])
    assert "duplicates dropped: 30 (rows 4, 5, " in done.output
    assert "23, and 10 more (--json lists all))" in done.output
    assert done.output.count(": got start 9 and end 9") == 20
    assert done.output.endswith("\n  and 30 more (--json lists all)\n")
    whole, _ = run(tmp_path, [*CLEAN, *bad], "--json")
    assert len(json.loads(whole.stdout)["bad_rows"]) == 50


def test_a_list_whose_rows_are_all_bad_is_refused(tmp_path):
    refused, output = run(tmp_path, ["c,0,100,700-20-800-140,25,640,360,train,z"])
    assert "got 1 bad rows in" in str(refused.exception)
    assert not output.exists()


def test_a_folder_tells_what_it_skips(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.mp4").write_bytes(b"film")
    (tmp_path / "videos/b.wav").write_bytes(b"sound")
    arguments = [
        "sources",
        "import",
        str(tmp_path / "videos"),
        "--format",
        "folder",
        "-o",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert "files skipped: 1\n  b.wav: no video by its name; .avi, " in done.output


def test_a_missing_file_is_one_line(tmp_path):
    arguments = ["sources", "import", str(tmp_path / "none.csv"), "--format", "fomm-csv", "-o", "x.csv"]
    assert "got no file at" in str(CliRunner().invoke(app, arguments).exception)


IMPORTER_FILE = '''
"""Lines of `<url> <name of who is shown>`."""

from pathlib import Path

from preprocessing.sources.importer import ImportedRow, Importer, read_rows


def _read_line(line: str) -> ImportedRow:
    url, identity = line.split()
    return ImportedRow(place=line, url=url, identity=identity)


def read_plain_text(path: Path) -> list[ImportedRow]:
    lines = path.read_text().splitlines()
    return read_rows(path, zip(lines, lines, strict=True), _read_line)


IMPORTER = Importer(read_plain_text)
'''


def test_a_new_importer_is_one_file(tmp_path):
    """The real command, from a copy of the packages with one file added."""
    for package in ("preprocessing", "lia_model", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    added = tmp_path / "preprocessing/sources/importers/plain_text.py"
    added.write_text(IMPORTER_FILE)
    (tmp_path / "list.txt").write_text("https://a.example/1.mp4 ann\nhttps://a.example/2.mp4 bob\n")

    program = "from pipelines.cli import main; main()"

    def lia(*arguments):
        command = [sys.executable, "-c", program, "sources", "import", *arguments]
        variables = os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)

    assert "plain-text" in lia("--help").stdout
    done = lia("list.txt", "--format", "plain-text", "-o", "sources.csv")
    assert done.returncode == 0, done.stderr
    assert [source.identity for source in read_sources(tmp_path / "sources.csv")] == ["ann", "bob"]
    added.unlink()
    assert lia("list.txt", "--format", "plain-text", "-o", "sources.csv").returncode == 2


@pytest.mark.parametrize("name", importer_names())
def test_every_importer_refuses_a_list_of_another_kind_in_one_line(tmp_path, name):
    path = tmp_path / "list"
    path.write_text("neither a table nor an object\n")
    output = tmp_path / "sources.csv"
    error = (
        CliRunner()
        .invoke(app, ["sources", "import", str(path), "--format", name, "-o", str(output)])
        .exception
    )
    assert isinstance(error, ValueError)
    assert str(error).startswith("got ")
    assert "\n" not in str(error)
    assert list(tmp_path.iterdir()) == [path]
