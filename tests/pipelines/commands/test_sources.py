import json

from typer.testing import CliRunner

from pipelines.cli import app
from preprocessing.sources.source_list import read_sources

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


def test_every_format_ends_in_a_list_that_our_reader_takes(tmp_path):
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
    expected = {
        ("voxceleb-txt", "id00001"): ({"train": 0, "test": 0, "auto": 1}, ["abc/00001.txt"]),
        ("talkinghead1kh", "val_tubes.txt"): ({"train": 0, "test": 1, "auto": 0}, []),
        ("celebv-json", "celebv.json"): ({"train": 0, "test": 0, "auto": 1}, []),
        ("hdtf", "."): ({"train": 0, "test": 0, "auto": 1}, []),
    }
    for (name, file), (splits, clamped) in expected.items():
        output = tmp_path / f"{name}.csv"
        arguments = ["sources", "import", str(tmp_path / file), "--format", name, "-o", str(output), "--json"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (name, done.exception)
        report = json.loads(done.stdout)
        assert (report["splits"], report["clamped"]) == (splits, clamped)
        assert len(read_sources(output)) == 1


def test_a_missing_file_is_one_line(tmp_path):
    arguments = ["sources", "import", str(tmp_path / "none.csv"), "--format", "fomm-csv", "-o", "x.csv"]
    assert "got no file at" in str(CliRunner().invoke(app, arguments).exception)
