import json

import pytest

from preprocessing.clips.stored_result import (
    RESULT_NAME,
    SourceResult,
    read_preview,
    read_result,
    write_result,
)
from preprocessing.ledger import ClipRow


@pytest.fixture
def result():
    row = ClipRow(
        key="k-000", row_key="k", source_key="s", url="http://a.org/1.mp4", outcome="filtered", reason="dark"
    )
    return SourceResult(row_key="k", fingerprint="f", rows=[row], prepared=[], people=[])


def test_a_result_is_read_back_for_its_own_fingerprint_only(tmp_path, result):
    write_result(tmp_path / "k", result, {})
    assert read_result(tmp_path / "k", "f") == result
    assert read_result(tmp_path / "k", "other") is None
    assert read_result(tmp_path / "nothing", "f") is None


def test_a_result_of_an_earlier_version_is_no_result_of_this_one(tmp_path, result):
    write_result(tmp_path / "k", result, {})
    stored = json.loads((tmp_path / "k" / RESULT_NAME).read_text())
    (tmp_path / "k" / RESULT_NAME).write_text(json.dumps(stored | {"prepared": [{"frame_bytes": []}]}))
    assert read_result(tmp_path / "k", "new") is None


def test_thumbnails_of_rejected_candidates_are_their_preview(tmp_path, result):
    write_result(tmp_path / "k", result, {"k-000": [b"one", b"two"]})
    assert read_preview(tmp_path, "k", "k-000") == [b"one", b"two"]
    assert read_preview(tmp_path, "k", "k-001") == []


def test_files_of_clips_that_are_not_kept_any_more_are_removed(tmp_path, result):
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "k-007.jpgs").write_bytes(b"old")
    write_result(tmp_path / "k", result, {})
    assert not (tmp_path / "k" / "k-007.jpgs").exists()
