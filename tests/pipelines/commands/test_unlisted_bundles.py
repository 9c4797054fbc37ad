"""Stores with bundles of listed and unlisted videos: what may go, and what never does."""

from datetime import date

import numpy as np
import pytest

from pipelines.commands import unlisted_bundles
from pipelines.commands.clean import remove, survey_store
from pipelines.project_paths import ProjectPaths
from preprocessing.ledger import Download, SourceRow, write_sources
from preprocessing.outcome import DownloadStatus
from preprocessing.shards.stored_shards import store_shards
from preprocessing.sources.source import Source, source_key, text_key
from preprocessing.sources.tombstones import add_tombstones
from preprocessing.storage.exchange import clips_bundle, tar_bundle, video_bundle
from preprocessing.storage.object_store import Store
from tests.lia_model.shards_on_disk import write_shards

LISTED, DELISTED, IN_LEDGER, HERE, FORGOTTEN = (f"http://a.org/{number}.mp4" for number in range(5))
RENAMED = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
FORMERLY = text_key("https://youtu.be/dQw4w9WgXcQ")
KEYS = {url: source_key(url) for url in (LISTED, DELISTED, IN_LEDGER, HERE, FORGOTTEN)}
PART = Source(url=LISTED, key=KEYS[LISTED], start_s=1.0, end_s=3.0).row_key
FORMER_PART = Source(url=LISTED, key=KEYS[LISTED], start_s=2.0, end_s=3.0).row_key
DELISTED_BUNDLES = {
    video_bundle(KEYS[DELISTED]): "a video that is not listed",
    clips_bundle(f"{KEYS[DELISTED]}-whole"): "clips of a video that is not listed",
    clips_bundle(FORMER_PART): "clips of a part that is not listed",
    tar_bundle("0" * 64): "a tar that the manifest does not list",
}
FOREIGN = ("downloads/hosts.json", "raw/notes.txt", "clips/somebody/s.mp4", "tars/0000.tar", "models/m.onnx")
"""Files that are no bundles of ours."""


@pytest.fixture
def paths(tmp_path):
    """A project that lists two videos, one of them by another spelling than it is stored under."""
    paths = ProjectPaths(tmp_path / "project")
    clips = list(np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8))
    write_shards(paths.shards, {"train": clips, "test": clips[:1]}, 32)
    (paths.root / "data/sources.csv").write_text(f"url,start_s,end_s\n{LISTED},1,3\n{RENAMED},,\n")
    paths.ledger.mkdir()
    row = Source(url=IN_LEDGER, key=KEYS[IN_LEDGER])
    write_sources(paths.source_ledger, [SourceRow(row, Download(status=DownloadStatus.VERIFIED))])
    paths.raw.mkdir()
    (paths.raw / f"{KEYS[HERE]}.json").write_text("{}")
    paths.tombstones.write_text("key,date\n")
    add_tombstones(paths.tombstones, [KEYS[FORGOTTEN]], date(2026, 11, 27))
    return paths


def fill(store, paths):
    """Store the project's shards and a bundle of everything; return the names of those that must stay."""
    store_shards(store, paths.shards)
    video = paths.root / "v.mp4"
    video.write_bytes(bytes(1000))
    stay = {clips_bundle(PART), video_bundle(FORMERLY), clips_bundle(f"{FORMERLY}-whole")}
    stay |= {video_bundle(key) for url, key in KEYS.items() if url != DELISTED}
    stay |= {clips_bundle(f"{KEYS[url]}-whole") for url in (IN_LEDGER, FORGOTTEN)}
    for bundle in stay | DELISTED_BUNDLES.keys():
        store.put(bundle, {"v.mp4": video})
    for name in FOREIGN:
        store.upload(video, name)
    return stay | set(store.bundles("tars")) - DELISTED_BUNDLES.keys()


def bundles_in(store):
    return {name for folder in ("raw", "clips", "tars") for name in store.bundles(folder)}


def check_removal(store_url, paths, monkeypatch):
    store = Store(store_url)
    stay = fill(store, paths)
    source_list = paths.root / "data/sources.csv"
    assert survey_store(store_url, paths, source_list) == []
    monkeypatch.setattr(unlisted_bundles, "MIN_AGE_DAYS", 0)
    found = survey_store(store_url, paths, source_list)
    assert {one.place.name: one.reason.partition(";")[0] for one in found} == DELISTED_BUNDLES
    assert all(1000 < one.size_bytes < 1200 for one in found)
    size, place, reason = found[0].row(paths.root)
    assert (size, place.startswith(f"{store_url}/raw/")) == ("0.0 MB", True)
    assert "stored on 20" in reason
    assert bundles_in(store) == stay | DELISTED_BUNDLES.keys()
    remove(found, paths)
    assert bundles_in(store) == stay
    assert all(store.version(name) is not None for name in FOREIGN)
    assert survey_store(store_url, paths, source_list) == []


def test_what_no_list_has_goes_once_it_is_old_and_all_else_stays(paths, tmp_path, monkeypatch):
    check_removal(f"file://{tmp_path}/store", paths, monkeypatch)


@pytest.mark.slow
def test_the_same_holds_on_a_real_s3_server(paths, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    check_removal(f"{s3['LIA_STORE_URL']}/unlisted", paths, monkeypatch)


def test_a_store_with_other_shards_is_refused(paths, tmp_path, monkeypatch):
    """As of another project, or of this one with another list."""
    monkeypatch.setattr(unlisted_bundles, "MIN_AGE_DAYS", 0)
    store_url, source_list = f"file://{tmp_path}/store", paths.root / "data/sources.csv"
    with pytest.raises(ValueError, match=r"whose shards are not those of .*run `lia shards`"):
        survey_store(store_url, paths, source_list)
    fill(Store(store_url), paths)
    other = tmp_path / "other"
    write_shards(other, {"train": [np.zeros((4, 32, 32, 3), np.uint8)]}, 32)
    store_shards(Store(store_url), other)
    before = bundles_in(Store(store_url))
    with pytest.raises(ValueError, match="whose shards are not those of"):
        survey_store(store_url, paths, source_list)
    assert bundles_in(Store(store_url)) == before


def test_a_list_with_bad_rows_is_refused_since_their_videos_would_look_unlisted(paths, tmp_path):
    store_url, source_list = f"file://{tmp_path}/store", paths.root / "data/sources.csv"
    fill(Store(store_url), paths)
    source_list.write_text(f"url,start_s\n{LISTED},1\n{RENAMED},soon\n")
    with pytest.raises(ValueError, match="soon"):
        survey_store(store_url, paths, source_list)
