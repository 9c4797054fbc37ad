"""What one machine has done another does not do again: two folders that share a store."""

import hashlib
import shutil
import tempfile

import pytest

from preprocessing.clips.source_run import SourceTask, process_stored
from preprocessing.clips.stored_result import read_prepared
from preprocessing.clips.units import fetch_finished, process_here
from preprocessing.storage.exchange import SHARDS_BUNDLE, bundles_of_sources, clips_bundle, video_bundle
from preprocessing.storage.object_store import Store


@pytest.fixture
def make_task(tmp_path, models, make_source, shards_settings):
    """Function that returns a task on a video of a machine's own folder."""

    def make(machine):
        source = make_source()
        return SourceTask(
            source=source,
            video=tmp_path / machine / "raw" / f"{source.key}.mp4",
            video_sha256="0" * 64,
            root=models.parent,
            settings=shards_settings,
            tracks=tmp_path / machine / "tracks",
            clips=tmp_path / machine / "clips",
            store_url=f"file://{tmp_path}/store",
        )

    return make


def folder_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_clips_made_on_one_machine_are_found_on_another(make_task, samples, tmp_path):
    one, other = make_task("one"), make_task("other")
    one.video.parent.mkdir(parents=True)
    shutil.copy(samples / "single_face.mp4", one.video)
    (made,) = process_here([[one]], 1, lambda result: None)
    assert [row.outcome for row in made.rows] == ["kept"]
    # No video is there, and none is in the store: what comes is what was handed over.
    (found,) = process_here([[other]], 1, lambda result: None)
    assert found.rows == made.rows
    assert found.clips[0].folder != made.clips[0].folder
    frames = [
        [clip.frames() for clip in read_prepared(each.clips[0].folder).values()] for each in (found, made)
    ]
    assert frames[0] == frames[1]
    assert folder_bytes(tmp_path / "other" / "tracks") == folder_bytes(tmp_path / "one" / "tracks")


def test_what_is_here_already_is_not_brought(make_task, samples, tmp_path, monkeypatch):
    task = make_task("one")
    task.video.parent.mkdir(parents=True)
    shutil.copy(samples / "single_face.mp4", task.video)
    process_here([[task]], 1, lambda result: None)
    asked = []
    monkeypatch.setattr(Store, "get", lambda self, bundle, place: asked.append(bundle))
    fetch_finished(task, Store(str(task.store_url)))
    assert asked == []


def test_a_video_that_the_store_alone_has_is_processed_and_not_left_here(
    make_task, samples, tmp_path, monkeypatch
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    task = make_task("one")
    place = {task.video.name: samples / "single_face.mp4"}
    Store(str(task.store_url)).put(video_bundle(task.source.key), place)
    (made,) = process_here([[task]], 1, lambda result: None)
    assert [row.outcome for row in made.rows] == ["kept"]
    assert not task.video.parent.exists()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_clips_of_other_settings_are_not_taken_for_these(make_task, samples):
    one = make_task("one")
    one.video.parent.mkdir(parents=True)
    shutil.copy(samples / "single_face.mp4", one.video)
    process_here([[one]], 1, lambda result: None)
    crop = one.settings.crop.model_copy(update={"size_px": 32})
    other = make_task("other").model_copy(update={"settings": one.settings.model_copy(update={"crop": crop})})
    fetch_finished(other, Store(str(other.store_url)))
    # The sightings are as good for these, the squares are not.
    assert process_stored(other) is None
    assert (
        hashlib.sha256(next(other.tracks.iterdir()).read_bytes()).hexdigest()
        == hashlib.sha256(next(one.tracks.iterdir()).read_bytes()).hexdigest()
    )


def test_the_bundles_of_a_source_are_its_video_and_the_clips_of_every_part(tmp_path, make_source):
    wanted, other = make_source(), make_source("http://127.0.0.1:1/other.mp4")
    part = make_source(start_s=1.0, end_s=2.0)
    store = Store(f"file://{tmp_path}/store")
    (tmp_path / "file").write_bytes(b"x")
    names = [SHARDS_BUNDLE, video_bundle(wanted.key), video_bundle(other.key)]
    names += [clips_bundle(source.row_key) for source in (wanted, part, other)]
    for name in names:
        store.put(name, {"file": tmp_path / "file"})
    found = bundles_of_sources(store, {wanted.key})
    assert sorted(found) == sorted([names[1], names[3], names[4]])
    assert bundles_of_sources(Store(f"file://{tmp_path}/empty"), {wanted.key}) == []
