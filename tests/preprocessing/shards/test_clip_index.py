import dataclasses

import numpy as np
import pytest

from preprocessing.clips.sample import ClipEntry
from preprocessing.shards.clip_index import build_index, list_split, read_index, tars_of_sources, write_index


def entry(key, num_frames=4, identity=None, **more):
    values = {"by_time": False, "follows": None, "start_s": 0.5, "end_s": 1.25} | more
    source = key.split("-")[0]
    return ClipEntry(
        key=key,
        source_key=source,
        url=f"http://a.org/{source}/ü",
        identity=identity,
        num_frames=num_frames,
        **values,
    )


@pytest.fixture
def clips():
    return [
        entry("a-whole-000-000000", 2, "Ann"),
        entry("a-whole-001-000010", 1),
        entry("b-whole-000-000000", 3, "Ann", by_time=True, follows="a-whole-000-000000", start_s=7.125),
    ]


@pytest.fixture
def path(tmp_path, clips):
    write_index(
        tmp_path / "index.npz",
        build_index(["00000.tar", "00001.tar"], [0, 0, 1], clips, [True, False, True]),
    )
    return tmp_path / "index.npz"


def test_what_is_written_is_read(path, clips):
    index = read_index(path)
    assert [index.entry(row) for row in range(len(index))] == clips
    assert index.tars == ["00000.tar", "00001.tar"]
    assert index.clip_tar.tolist() == [0, 0, 1]
    assert index.clip_first.tolist() == [0, 2, 3, 6]
    assert index.has_yaw.tolist() == [True, False, True]


def test_equal_indices_give_equal_bytes(path, tmp_path):
    write_index(tmp_path / "again.npz", read_index(path))
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_an_empty_split_has_an_empty_index(tmp_path):
    write_index(tmp_path / "index.npz", build_index([], [], [], []))
    assert len(read_index(tmp_path / "index.npz")) == 0


def test_people_and_videos_are_counted_and_who_has_no_name_is_the_video(path):
    index = read_index(path)
    assert index.people() == ["Ann", "a", "Ann"]
    listing = list_split(index, [], "")
    assert (listing.num_people, listing.num_videos, listing.num_by_time) == (2, 2, 1)


def test_a_text_that_many_clips_share_is_stored_once(tmp_path, clips):
    sizes = []
    for identity in ("Ann", "A" * 4000):
        many = [clip.model_copy(update={"identity": identity}) for clip in 50 * clips]
        write_index(tmp_path / "index.npz", build_index(["00000.tar"], [0] * 150, many, [True] * 150))
        sizes.append((tmp_path / "index.npz").stat().st_size)
    assert sizes[1] - sizes[0] < 2 * 4000


@pytest.mark.parametrize(
    ("keys", "tars"), [({"a"}, ["00000.tar"]), ({"a", "b"}, ["00000.tar", "00001.tar"]), ({"whole"}, [])]
)
def test_the_tars_of_a_video_are_found_by_its_key(path, keys, tars):
    assert tars_of_sources(path, keys) == tars


def test_the_tars_of_a_video_are_found_in_an_index_of_the_first_version(tmp_path, path):
    index = read_index(path)
    np.savez(
        tmp_path / "first.npz",
        tars=np.array(index.tars),
        clip_key=np.array(index.clip_key),
        clip_tar=index.clip_tar,
        clip_first=index.clip_first,
        frame_offset=np.arange(6),
        frame_size=np.arange(6, dtype=np.int32),
    )
    assert tars_of_sources(tmp_path / "first.npz", {"b"}) == ["00001.tar"]


def test_columns_are_arrays_and_no_pickles(path):
    with np.load(path, allow_pickle=False) as arrays:
        assert {name.removesuffix("_values").removesuffix("_codes") for name in arrays} == {
            field.name for field in dataclasses.fields(read_index(path))
        }
