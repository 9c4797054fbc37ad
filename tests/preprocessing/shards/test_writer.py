import gc
import hashlib
import io
import os
import random
import tarfile
from collections import Counter
from functools import partial

import numpy as np
import pytest
import webdataset
from PIL import Image

from preprocessing.clips.cutting import frames_file
from preprocessing.clips.sample import ClipMetadata, PreparedClip
from preprocessing.clips.splitting.disjointness import Disjointness
from preprocessing.clips.stored_result import RESULT_NAME, SourceResult
from preprocessing.ledger import ClipRow, Download, SourceRow
from preprocessing.outcome import DownloadStatus
from preprocessing.shards.manifest import CropFacts, read_manifest
from preprocessing.shards.writer import (
    NothingKeptError,
    describe_shards,
    require_training_clips,
    write_shards,
)
from preprocessing.sources.source import source_key

NOT_KNOWN = Disjointness(None, "only labels were compared")


def with_frames(prepared, frames):
    """Return the clip with other JPEG files, which are stored."""
    prepared.file.write_bytes(b"".join(frames))
    return prepared.model_copy(
        update={
            "frame_bytes": [len(data) for data in frames],
            "frames_sha256": hashlib.sha256(b"".join(frames)).hexdigest(),
        }
    )


def store(prepared):
    """Store a clip as the only one of its source, and return what is decided about."""
    result = SourceResult(row_key="k", fingerprint="f", rows=[], prepared=[prepared], people=[])
    (prepared.file.parent / RESULT_NAME).write_text(result.model_dump_json())
    return prepared.kept()


@pytest.fixture
def make_prepared(tmp_path):
    def make(source, number, split="train", num_frames=4, by_time=False, follows=None, codec="jpeg"):
        url = f"http://a.org/{source}.mp4"
        key = f"{source_key(url)}-whole-{number:03d}-000000"
        frames = []
        for frame in range(num_frames):
            buffer = io.BytesIO()
            Image.new("RGB", (16, 16), (10 * source, 20 * number, 30 * frame)).save(buffer, codec)
            frames.append(buffer.getvalue() + b"\0" * frame)
        file = frames_file(tmp_path / "clips" / key, key, codec)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"".join(frames))
        clip = ClipMetadata(
            key=key, source_key=source_key(url), url=url, licence=None, identity=None, split=split,
            by_time=by_time, follows=follows, start_s=0.0, end_s=num_frames / 25, num_frames=num_frames,
            fps=25.0, times_s=[0.0, 0.04], size_px=16, crop_rule="fomm_square", crop_box=(0, 0, 16, 16),
            frame_size_px=(32, 32),
            mean_score=0.9,
        )  # fmt: skip
        return with_frames(
            PreparedClip(clip=clip, file=file, frame_bytes=[], frames_sha256="", signature=""), frames
        )

    return make


@pytest.fixture
def clips(make_prepared):
    train = [make_prepared(source, number) for source in (1, 2, 3) for number in (0, 1)]
    return [*train, make_prepared(4, 0, split="test", num_frames=7)]


@pytest.fixture
def write(models, shards_settings, make_source, tmp_path):
    def write(clips, name, shard_bytes=10**9, num_parallel=1, statuses=(DownloadStatus.VERIFIED,)):
        settings = shards_settings.model_copy(
            update={"shard_bytes": shard_bytes, "num_parallel": num_parallel}
        )
        rows = [
            ClipRow(
                outcome="kept",
                row_key=c.clip.source_key,
                **c.clip.model_dump(include={"key", "source_key", "url", "split"}),
            )
            for c in clips
        ]
        sources = [SourceRow(source=make_source(), download=Download(status=status)) for status in statuses]
        detector = models / "scrfd"
        kept = [store(prepared) for prepared in clips]
        describe = partial(describe_shards, kept, rows, sources, settings, detector, NOT_KNOWN)
        return tmp_path / name, write_shards(kept, shard_bytes, tmp_path / name, describe)

    return write


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_frames(folder, split):
    """Return every clip's picture files, found through the index alone."""
    with np.load(folder / split / "index.npz") as index:
        arrays = {name: index[name] for name in index.files}
    found = {}
    for tar, name in enumerate(arrays["tars"]):
        content = (folder / split / str(name)).read_bytes()
        frames = iter(np.load(folder / split / f"{str(name)[:-4]}.npy"))
        for clip in np.flatnonzero(arrays["clip_tar"] == tar):
            places = [next(frames) for _ in range(*arrays["clip_first"][clip : clip + 2])]
            found[str(arrays["clip_key"][clip])] = [
                content[place["offset"] : place["offset"] + place["size"]] for place in places
            ]
        assert next(frames, None) is None
    return found


@pytest.fixture
def many(make_prepared):
    """Clips of 61 sources, of about 40 kB each."""
    draw = random.Random(0)
    made = []
    for source in range(61):
        prepared = make_prepared(source % 25, source)
        key = f"{source_key(f'http://a.org/many/{source}')}-whole-000-000000"
        clip = prepared.clip.model_copy(update={"key": key, "source_key": key.split("-")[0]})
        *first, last = prepared.frames()
        prepared = prepared.model_copy(update={"clip": clip})
        made.append(with_frames(prepared, [*first, last + draw.randbytes(40_000)]))
    return made


def written_since(folder, before):
    """Return the bytes of the files of a folder that were not there before, also under another name."""
    now = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum(status.st_size for status in now if status.st_ino not in before)


def test_one_source_more_writes_its_own_shard_alone(write, many):
    *first, last = sorted(many, key=lambda one: one.clip.key[::-1])
    folder, manifest = write(first, "shards", shard_bytes=250_000)
    # Held open, so that no new file can get the number of a removed one.
    held = [path.open("rb") for path in folder.rglob("*") if path.is_file()]
    before = {os.fstat(file.fileno()).st_ino for file in held}
    known = {tar.sha256 for tar in manifest.splits.train.tars}
    _, after = write([*first, last], "shards", shard_bytes=250_000)
    changed = sum(tar.bytes for tar in after.splits.train.tars if tar.sha256 not in known)
    assert len(after.splits.train.tars) > 8
    assert changed <= 3 * 250_000
    assert 0 < written_since(folder, before) <= 1.2 * changed
    elsewhere, _ = write([*first, last], "elsewhere", shard_bytes=250_000)
    assert contents(folder) == contents(elsewhere)
    for file in held:
        file.close()


def test_one_source_more_reads_no_clip_and_no_tar_of_the_others(write, many):
    """Whoever opens one of those would fail."""
    *first, last = sorted(many, key=lambda one: one.clip.key[::-1])
    folder, manifest = write(first, "shards", shard_bytes=250_000)
    for path in (*folder.rglob("*.tar"), *folder.rglob("*.npy")):
        # Another content under the same size and time of change, by which files are told apart.
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    _, after = write([*first, last], "shards", shard_bytes=250_000)
    known = {tar.sha256 for tar in manifest.splits.train.tars}
    for tar in after.splits.train.tars:
        is_linked = tar.sha256 in known
        assert ((folder / "train" / tar.name).read_bytes() == bytes(tar.bytes)) == is_linked


def test_frames_that_are_not_those_that_were_cut_are_named(write, clips):
    clips[2].file.write_bytes(bytes(clips[2].file.stat().st_size))
    with pytest.raises(ValueError, match=rf"^got {clips[2].file}, which is not what was cut"):
        write(clips, "shards")


def test_a_damaged_shard_or_other_frames_under_the_same_key_are_written_again(write, many):
    clips = many[:6]
    folder, manifest = write(clips, "shards", shard_bytes=80_000)
    one, other = (folder / "train" / tar.name for tar in manifest.splits.train.tars[:2])
    content = one.read_bytes()
    damaged = bytearray(content)
    damaged[20_000] ^= 1
    one.write_bytes(damaged)
    kept = other.stat().st_ino
    write(clips, "shards", shard_bytes=80_000)
    assert one.read_bytes() == content
    assert other.stat().st_ino == kept
    *before, last = clips[0].frames()
    clips[0] = with_frames(clips[0], [*before, last[:-1] + bytes([last[-1] ^ 1])])
    folder, _ = write(clips, "shards", shard_bytes=80_000)
    elsewhere, _ = write(clips, "elsewhere", shard_bytes=80_000)
    assert contents(folder) == contents(elsewhere)


def test_what_a_linked_shard_was_linked_to_is_never_written_into(write, many, tmp_path):
    """A cache may hold the same file, as DVC's does with hard or symbolic links."""
    folder, manifest = write(many[:6], "shards", shard_bytes=80_000)
    name = manifest.splits.train.tars[0].name
    cached = tmp_path / "cached"
    cached.hardlink_to(folder / "train" / name)
    cached.chmod(0o444)
    content = cached.read_bytes()
    (folder / "train" / name).unlink()
    (folder / "train" / name).symlink_to(cached)
    write(many[:6], "shards", shard_bytes=80_000)
    assert (folder / "train" / name).stat().st_ino == cached.stat().st_ino
    assert not (folder / "train" / name).is_symlink()
    write(many[1:6], "shards", shard_bytes=80_000)
    write([many[0].model_copy(update={"yaw_deg": [1.0, 2.0, 3.0, 4.0]})], "shards", shard_bytes=80_000)
    assert cached.read_bytes() == content


def test_same_clips_give_the_same_bytes_in_any_order(write, clips):
    first, _ = write(clips, "first")
    second, _ = write(clips[::-1], "second", num_parallel=2)
    assert contents(first) == contents(second)


def test_index_finds_every_frame_that_was_prepared(write, clips):
    folder, _ = write(clips, "shards", shard_bytes=4000)
    expected = {prepared.clip.key: prepared.frames() for prepared in clips if prepared.clip.split == "train"}
    assert read_frames(folder, "train") == expected


def test_shards_may_hold_frames_of_both_formats(write, make_prepared):
    """A run that changed the codec and failed for one source would keep that source's former clips."""
    clips = [make_prepared(1, 0), make_prepared(2, 0, codec="webp")]
    folder, _ = write(clips, "shards")
    frames = read_frames(folder, "train")
    for clip, kind in zip(clips, ("JPEG", "WEBP"), strict=True):
        assert frames[clip.clip.key] == clip.frames()
        assert {Image.open(io.BytesIO(data)).format for data in frames[clip.clip.key]} == {kind}
    with tarfile.open(folder / "train/00000.tar") as tar:
        endings = Counter(name.rpartition(".")[2] for name in tar.getnames())
    assert endings == {"json": 2, "jpg": 4, "webp": 4}


def test_index_has_the_promised_shapes(write, clips):
    folder, manifest = write(clips, "shards")
    with np.load(folder / "train" / "index.npz") as index:
        assert index["clip_first"].tolist() == [0, 4, 8, 12, 16, 20, 24]
        assert index["clip_tar"].dtype == np.int32
        assert index["clip_first"].dtype == np.int64
        assert index["clip_key"].tolist() == sorted(clip.clip.key for clip in clips[:6])
    assert (manifest.splits.train.num_clips, manifest.splits.train.num_frames) == (6, 24)
    assert np.load(folder / "train" / "00000.npy").dtype.names == ("offset", "size", "yaw_deg")


def test_an_empty_split_has_an_empty_index(write, make_prepared):
    folder, manifest = write([make_prepared(1, 0)], "shards")
    with np.load(folder / "test" / "index.npz") as index:
        assert index["clip_first"].tolist() == [0]
    assert manifest.splits.test.tars == []
    assert manifest.splits.test.num_clips == 0


# webdataset leaves its last file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_webdataset_reads_whole_samples(write, clips):
    folder, _ = write(clips, "shards")
    path = str(folder / "test" / "00000.tar")
    (sample,) = webdataset.WebDataset(path, shardshuffle=False).decode("rgb8")
    assert sample["json"]["num_frames"] == 7
    frames = sorted(name for name in sample if name.endswith(".jpg"))
    assert frames == [f"{number:05d}.jpg" for number in range(7)]
    assert sample["00000.jpg"].shape == (16, 16, 3)
    gc.collect()


# webdataset leaves its last file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_webdataset_reads_webp_frames_with_its_handler_for_that_ending(write, make_prepared):
    folder, _ = write([make_prepared(1, 0, codec="webp")], "shards")
    dataset = webdataset.WebDataset(str(folder / "train/00000.tar"), shardshuffle=False)
    (sample,) = dataset.decode(webdataset.imagehandler("rgb8", ["webp"]))
    assert sample["00003.webp"].shape == (16, 16, 3)
    gc.collect()


# webdataset leaves its last file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_members_of_a_clip_come_between_metadata_and_frames(write, make_prepared):
    prepared = make_prepared(1, 0)
    contents = {"flac": b"sound", "faces.json": b'{"score":[0.5]}'}
    members = {ending: hashlib.sha256(content).hexdigest() for ending, content in contents.items()}
    prepared = prepared.model_copy(update={"members": members})
    for ending, path in prepared.member_files().items():
        path.write_bytes(contents[ending])
    folder, _ = write([prepared, make_prepared(1, 1)], "shards")
    path = str(folder / "train" / "00000.tar")
    with tarfile.open(path) as tar:
        names = [name.split(".", 1)[1] for name in tar.getnames()]
    frames = [f"{number:05d}.jpg" for number in range(4)]
    assert names == ["json", "faces.json", "flac", *frames, "json", *frames]
    first, second = webdataset.WebDataset(path, shardshuffle=False).decode("rgb8")
    assert (first["faces.json"], first["flac"]) == ({"score": [0.5]}, b"sound")
    assert second.keys() == first.keys() - {"faces.json", "flac"}
    assert read_frames(folder, "train")[prepared.clip.key] == prepared.frames()
    gc.collect()


def test_members_carry_no_owner_no_time_and_the_metadata_first(write, clips):
    folder, _ = write(clips, "shards")
    with tarfile.open(folder / "train" / "00000.tar") as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert members[0].name.endswith(".json")
    assert [m.name.split(".", 1)[1] for m in members[1:5]] == [f"{number:05d}.jpg" for number in range(4)]


def test_manifest_says_what_is_inside(write, clips):
    folder, manifest = write(clips, "shards")
    assert read_manifest(folder) == manifest
    assert (manifest.identity_disjoint, manifest.identity_disjoint_reason) == NOT_KNOWN
    assert manifest.complete
    assert manifest.counts.frames == {"train": 24, "test": 7}
    assert manifest.crop == CropFacts(rule="fomm_square", scale=1.2, outside="pad")
    assert str(folder) not in (folder / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("status", "is_complete"),
    [
        (DownloadStatus.PERMANENT, True),
        (DownloadStatus.INVALID, True),
        (DownloadStatus.RETRYABLE, False),
        (DownloadStatus.ENVIRONMENT, False),
        (DownloadStatus.STOP_THE_QUEUE, False),
    ],
)
def test_manifest_says_whether_a_rerun_might_bring_more(write, clips, status, is_complete):
    _, manifest = write(clips, "shards", statuses=(DownloadStatus.VERIFIED, status))
    assert manifest.complete == is_complete


@pytest.mark.parametrize("retryable", [True, False])
def test_shards_are_complete_unless_a_rerun_might_process_another_source(
    models, shards_settings, tmp_path, retryable
):
    failed = ClipRow(
        key="k", row_key="k", source_key="k", url="u", outcome="failed", error="x", retryable=retryable
    )
    detector, folder = models / "scrfd", tmp_path / "shards"
    describe = partial(describe_shards, [], [failed], [], shards_settings, detector, NOT_KNOWN)
    manifest = write_shards([], 1, folder, describe)
    assert manifest.complete != retryable


def test_a_new_run_leaves_no_stale_shard(write, clips):
    write(clips, "shards", shard_bytes=1)
    folder, _ = write(clips, "shards")
    assert sorted(path.name for path in (folder / "train").iterdir()) == [
        "00000.npy",
        "00000.tar",
        "index.npz",
    ]


def test_a_run_without_training_clips_counts_the_reasons(make_source):
    base = {"row_key": "k", "source_key": "k", "url": "http://a.org/1.mp4"}
    rows = [
        ClipRow(key="a", outcome="kept", split="test", **base),
        ClipRow(key="b", outcome="filtered", reason="too_short", **base),
        ClipRow(key="c", outcome="filtered", reason="too_short", **base),
    ]
    sources = [SourceRow(source=make_source(), download=Download(status=DownloadStatus.VERIFIED))]
    with pytest.raises(
        NothingKeptError, match=r"sources: 1 verified; clips: 2 filtered\(too_short\), 1 kept"
    ):
        require_training_clips(rows, sources)
