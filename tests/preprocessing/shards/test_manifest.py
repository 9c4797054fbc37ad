import json

import pytest

from preprocessing.shards.manifest import data_digest, read_manifest, write_manifest
from tests.lia_model.shards_on_disk import make_manifest


@pytest.fixture
def content(tmp_path):
    write_manifest(tmp_path, make_manifest(64))
    return json.loads((tmp_path / "manifest.json").read_text())


def test_what_is_written_is_read(tmp_path):
    manifest = make_manifest(64)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest


def test_keys_are_sorted_at_every_level(content):
    def is_sorted(value):
        if isinstance(value, dict):
            return list(value) == sorted(value) and all(map(is_sorted, value.values()))
        return not isinstance(value, list) or all(map(is_sorted, value))

    assert is_sorted(content)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no manifest\.json: make the shards first"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format_version": 1},
            "with format_version 1; this program reads 2; make the shards again with `lia shards`",
        ),
        ({"format_version": None}, "with format_version None; this program reads 2"),
        ({"size_px": "wide"}, "with a wrong size_px: Input should be a valid integer"),
        ({"more": 1}, "with a wrong more: Extra inputs are not permitted"),
    ],
)
def test_another_version_or_content_is_refused(tmp_path, content, change, message):
    (tmp_path / "manifest.json").write_text(json.dumps(content | change))
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"format_version": 1', "\0"])
def test_a_damaged_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="make the shards again with `lia shards`"):
        read_manifest(tmp_path)


def test_the_data_digest_depends_on_the_content_and_fits_mlflow():
    digest = data_digest(make_manifest(64))
    assert digest == data_digest(make_manifest(64)) != data_digest(make_manifest(32))
    assert len(digest) <= 36
