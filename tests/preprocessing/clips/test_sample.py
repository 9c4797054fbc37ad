import json

import pytest

from preprocessing.clips.sample import ClipEntry, ClipMetadata, PreparedClip


@pytest.fixture
def metadata():
    return ClipMetadata(
        key="s-whole-000-000000", source_key="s", url="http://a.org/1.mp4", identity=None, by_time=False,
        follows=None, start_s=0.0, end_s=0.12, num_frames=3, licence="CC0", split="train", fps=25.0,
        times_s=[0.0], size_px=64, crop_rule="fomm_square", crop_box=(0, 0, 90, 90), frame_size_px=(640, 360),
        mean_score=0.9,
    )  # fmt: skip


def test_frames_are_the_parts_of_the_file_by_their_lengths(tmp_path, metadata):
    file = tmp_path / "frames.jpgs"
    file.write_bytes(b"onetwothree")
    prepared = PreparedClip(clip=metadata, file=file, frame_bytes=[3, 3, 5], frames_sha256="", signature="")
    assert prepared.frames() == [b"one", b"two", b"three"]


def test_the_manifests_entry_is_a_part_of_the_metadata(metadata):
    entry = ClipEntry(**metadata.model_dump(include=set(ClipEntry.model_fields)))
    assert entry.model_dump().items() <= metadata.model_dump().items()


def test_metadata_survives_its_json(metadata):
    assert ClipMetadata(**json.loads(json.dumps(metadata.model_dump(mode="json")))) == metadata


def test_an_unknown_field_is_refused(metadata):
    with pytest.raises(ValueError, match="Extra inputs"):
        ClipMetadata(**metadata.model_dump(), folder="/somewhere")
