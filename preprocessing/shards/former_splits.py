"""Splits of the videos in the shards that are about to be replaced, which new sources must not change."""

from pathlib import Path

from preprocessing.settings import ShardsSettings
from preprocessing.shards.clip_index import INDEX_NAME, read_index
from preprocessing.shards.manifest import MANIFEST_NAME, SPLITS, read_content, read_manifest
from preprocessing.sources.source import Split


def former_splits(shards: Path, settings: ShardsSettings) -> dict[str, Split]:
    """Return the split of each video in the present shards, by its key, which new sources must not change.

    It is empty for other settings of the splits: they are drawn anew. Shards of an earlier version count too.

    Raises:
        ValueError: their manifest is damaged, or of a later version.
    """
    if not (shards / MANIFEST_NAME).is_file():
        return {}
    content = read_content(shards)
    if content.get("draw", "") not in ("", split_draw(settings)):
        return {}
    if content.get("format_version") == 1:
        # The first version listed the clips in the manifest.
        return {
            clip["source_key"]: split
            for split in SPLITS
            for clip in content["splits"][split]["clips"]
            if not clip["by_time"]
        }
    read_manifest(shards)
    found: dict[str, Split] = {}
    for split in SPLITS:
        index = read_index(shards / split / INDEX_NAME)
        keys = {str(index.source_key[row]) for row in (~index.by_time).nonzero()[0].tolist()}
        found |= dict.fromkeys(keys, split)
    return found


def split_draw(settings: ShardsSettings) -> str:
    """Return what decides the splits of videos that no other decides, in words."""
    return f"seed {settings.seed}, test_fraction {settings.test_fraction:g}"
