import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preprocessing.clips.cutting import cut_clips, frames_file, read_stored_frames, record_file
from preprocessing.media.boxes import Box
from preprocessing.media.frame_codec import FrameCodec
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.media.picture import whole_picture
from preprocessing.storage.files import file_sha256
from tests.preprocessing.clips.made_up_clip import make_candidate

SIZE_PX = 16
CANDIDATES = [
    make_candidate(5, 10, crop=Box(0, 0, 40, 40)),
    make_candidate(8, 30, crop=Box(40, 0, 80, 40)),
    make_candidate(20, 1, crop=Box(0, 0, 40, 40)),
]
JPEG = FrameCodec("jpeg", 95)
MARKS = {one.key: f"mark of {one.key}" for one in CANDIDATES}


class Video:
    """Frames whose left half is as bright as twice their number, and the right half darker by 100."""

    def __init__(self, num_frames=60, breaks_at=None):
        self.num_frames = num_frames
        self.breaks_at = breaks_at
        self.num_opened = 0
        self.last_read = None

    def __call__(self):
        self.num_opened += 1
        for number in range(self.num_frames):
            if number == self.breaks_at:
                raise OSError("broken")
            self.last_read = number
            image = np.full((40, 80, 3), 100 + 2 * number, np.uint8)
            image[:, 40:] -= 100
            yield NumberedFrame(number, whole_picture(image), number / 25)


@pytest.fixture
def cut(tmp_path):
    def cut(video, kept=CANDIDATES, marks=MARKS, codec=JPEG):
        return cut_clips(kept, marks, video, tmp_path / "clips", SIZE_PX, codec)

    return cut


def clip_files(key):
    return {frames_file(Path(), key, "jpeg").name, record_file(Path(), key).name}


def levels(folder, key):
    """Return the brightness of each stored frame."""
    images = [np.asarray(Image.open(io.BytesIO(data))) for data in read_stored_frames(folder, key)]
    assert {image.shape for image in images} == {(SIZE_PX, SIZE_PX, 3)}
    assert all(np.ptp(image) <= 2 for image in images)
    return [round(float(image.mean())) for image in images]


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("codec", [JPEG, FrameCodec("webp", 95)], ids=lambda codec: codec.format)
def test_each_clip_has_the_squares_of_exactly_its_frames(cut, tmp_path, codec):
    cut(Video(), codec=codec)
    assert {one.suffix for one in (tmp_path / "clips").iterdir()} == {".json", f".{codec.ending}s"}
    for one, darker in zip(CANDIDATES, (0, 100, 0), strict=True):
        tube = one.tube
        wanted = [100 + 2 * number - darker for number in range(tube.first_frame, tube.end_frame)]
        assert levels(tmp_path / "clips", one.key) == pytest.approx(wanted, abs=1)


def test_the_records_are_those_of_the_stored_files_in_the_order_of_the_candidates(cut, tmp_path):
    records = cut(Video())
    assert list(records) == [one.key for one in CANDIDATES]
    for key, record in records.items():
        assert record.frame_bytes == [len(data) for data in read_stored_frames(tmp_path / "clips", key)]
        assert record.sha256 == file_sha256(tmp_path / "clips" / f"{key}.jpgs")


def test_what_an_earlier_version_cut_without_a_hash_is_not_cut_again(cut, tmp_path):
    records = cut(Video())
    for path in (tmp_path / "clips").glob("*.json"):
        stored = json.loads(path.read_text())
        del stored["sha256"]
        path.write_text(json.dumps(stored))
    video = Video()
    assert cut(video) == records
    assert video.num_opened == 0


def test_the_folder_holds_the_files_of_the_clips_and_no_others(cut, tmp_path):
    cut(Video())
    assert {path.name for path in (tmp_path / "clips").iterdir()} == set().union(*map(clip_files, MARKS))


def test_one_pass_ends_with_the_last_wanted_frame(cut):
    video = Video()
    cut(video)
    assert (video.num_opened, video.last_read) == (1, 38)


def test_a_second_run_reads_no_frame_and_writes_no_file(cut, tmp_path):
    records = cut(Video())
    before, video = times(tmp_path / "clips"), Video()
    assert cut(video) == records
    assert video.num_opened == 0
    assert times(tmp_path / "clips") == before


def test_without_candidates_no_frame_is_read(cut):
    video = Video()
    assert cut(video, kept=[]) == {}
    assert video.num_opened == 0


@pytest.mark.parametrize("damage", ["fingerprint", "frames", "record", "end"])
def test_only_a_clip_that_is_outdated_or_incomplete_is_cut_again(cut, tmp_path, damage):
    folder, marks = tmp_path / "clips", dict(MARKS)
    records = cut(Video())
    key = CANDIDATES[1].key
    before = times(folder)
    if damage == "fingerprint":
        marks[key] = "new"
    elif damage == "end":
        frames = folder / f"{key}.jpgs"
        frames.write_bytes(frames.read_bytes()[:-1])
    else:
        (folder / f"{key}.{'jpgs' if damage == 'frames' else 'json'}").unlink()
    again = cut(Video(), marks=marks)
    assert [one.sha256 for one in again.values()] == [one.sha256 for one in records.values()]
    after = times(folder)
    assert {name for name in after if after[name] != before[name]} == clip_files(key)
    cut(Video(), marks=marks)
    assert times(folder) == after


@pytest.mark.parametrize("suffix", ["jpgs", "json"])
def test_frames_are_read_with_any_fingerprint_unless_a_file_is_missing(cut, tmp_path, suffix):
    cut(Video(), marks=dict.fromkeys(MARKS, "old"))
    key = CANDIDATES[0].key
    assert len(read_stored_frames(tmp_path / "clips", key)) == 10
    (tmp_path / "clips" / f"{key}.{suffix}").unlink()
    assert read_stored_frames(tmp_path / "clips", key) is None


def test_a_video_that_breaks_leaves_no_file(cut, tmp_path):
    with pytest.raises(OSError, match="broken"):
        cut(Video(breaks_at=12))
    assert list((tmp_path / "clips").iterdir()) == []


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_quality_changes_the_bytes_and_not_the_number_of_the_frames(tmp_path, codec):
    noise = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    coarse, fine = (
        cut_clips(
            CANDIDATES[:1],
            MARKS,
            lambda: (NumberedFrame(n, whole_picture(noise), n / 25) for n in range(60)),
            tmp_path / str(q),
            SIZE_PX,
            FrameCodec(codec, q),
        )
        for q in (30, 95)
    )
    (key,) = coarse
    assert len(coarse[key].frame_bytes) == len(fine[key].frame_bytes) == 10
    assert sum(coarse[key].frame_bytes) < sum(fine[key].frame_bytes)
