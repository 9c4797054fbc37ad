"""The stages download and shards as a user runs them, on a list with good and bad sources."""

import json

import pytest

from preprocessing.ledger import read_clip_rows, read_source_rows


@pytest.mark.slow
def test_bad_sources_are_accounted_for_and_the_good_one_becomes_shards(new_project, samples_url):
    project = new_project(
        "shards",
        sources=[
            f"{samples_url}/single_face.mp4,train",
            f"{samples_url}/no_face.mp4,auto",
            f"{samples_url}/none.mp4,auto",
        ],
    )
    project.run("lia", "download")
    project.run("lia", "shards")
    states = {
        row.source.url.rsplit("/", 1)[1]: row.download.status
        for row in read_source_rows(project.root / "data/ledger/sources.parquet")
    }
    assert states == {"single_face.mp4": "verified", "no_face.mp4": "verified", "none.mp4": "permanent"}
    clips = read_clip_rows(project.root / "data/ledger/clips.parquet")
    assert sorted(row.label for row in clips) == ["filtered(no_face)", "kept"]
    manifest = json.loads((project.root / "data/shards/manifest.json").read_text())
    assert manifest["counts"]["frames"] == {"train": 60, "test": 0}
    assert (project.root / "data/shards/report.html").is_file()
