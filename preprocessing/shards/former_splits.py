"""Splits of the videos in the shards that are about to be replaced, which new sources must not change."""

from pathlib import Path

from preprocessing.settings import ShardsSettings
from preprocessing.shards.manifest import MANIFEST_NAME, SPLITS, read_manifest
from preprocessing.sources.source import Split


def former_splits(shards: Path, settings: ShardsSettings) -> dict[str, Split]:
    """Return the split of each video in the present shards, by its key, which new sources must not change.

    It is empty for other settings of the splits: they are drawn anew.
    """
    if not (shards / MANIFEST_NAME).is_file():
        return {}
    manifest = read_manifest(shards)
    if manifest.draw not in ("", split_draw(settings)):
        return {}
    return {
        clip.source_key: split for split in SPLITS for clip in manifest.split(split).clips if not clip.by_time
    }


def split_draw(settings: ShardsSettings) -> str:
    """Return what decides the splits of videos that no other decides, in words."""
    return f"seed {settings.seed}, test_fraction {settings.test_fraction:g}"
