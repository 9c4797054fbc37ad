import json

from typer.testing import CliRunner

from pipelines.cli import app
from preprocessing.sources import read_sources

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
    assert (report["num_rows"], report["splits"]) == (2, {"train": 1, "test": 1})
    assert (report["duplicates"], report["clamped"], report["fixed_leaks"]) == ([4], [3], [])
    assert [source.identity for source in read_sources(output)] == ["x", "y"]


def test_a_leak_writes_nothing_until_it_is_to_be_fixed(tmp_path):
    output = tmp_path / "data" / "sources.csv"
    output.parent.mkdir()
    output.write_text("url\nhttps://kept.example/v.mp4\n")
    refused, _ = run(tmp_path, LEAKING)
    assert isinstance(refused.exception, ValueError)
    assert "got 1 people or videos in both train and test, such as identity y" in str(refused.exception)
    assert [path.name for path in output.parent.iterdir()] == ["sources.csv"]
    assert "kept.example" in output.read_text()
    fixed, _ = run(tmp_path, LEAKING, "--fix-split")
    assert "in both splits, now in test: identity y" in fixed.output
    assert [source.split for source in read_sources(output)] == ["train", "test", "test"]


def test_a_missing_file_is_one_line(tmp_path):
    arguments = ["sources", "import", str(tmp_path / "none.csv"), "--format", "fomm-csv", "-o", "x.csv"]
    assert "got no file at" in str(CliRunner().invoke(app, arguments).exception)
