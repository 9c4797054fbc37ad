"""Which clips share a shard. Pure."""

import hashlib
from collections.abc import Sequence

from preprocessing.clips.sample import KeptClip


def group_into_shards(clips: Sequence[KeptClip], shard_bytes: int) -> list[list[KeptClip]]:
    """Return the clips, in order, in groups of `shard_bytes` on average; clips of one source stay together.

    As in content-defined chunking (Muthitacharoen et al. 2001), a source of a tenth of `shard_bytes` starts a
    new shard with probability one tenth, decided by its key. So adding or removing a source changes its own
    shard and rarely a neighbour. No shard exceeds twice `shard_bytes` unless a single source does.
    """
    by_source: dict[str, list[KeptClip]] = {}
    for clip in clips:
        by_source.setdefault(clip.source_key, []).append(clip)
    shards: list[list[KeptClip]] = []
    filled = 0
    for key, group in by_source.items():
        size = sum(clip.num_bytes for clip in group)
        chance = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
        if not shards or chance < size / shard_bytes or filled + size > 2 * shard_bytes:
            shards.append([])
            filled = 0
        shards[-1] += group
        filled += size
    return shards
