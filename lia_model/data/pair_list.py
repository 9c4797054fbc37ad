"""The list of pairs that an evaluation compares; frozen, so that its numbers can be repeated.

There are two protocols. Reconstruction: a held-out clip's own frames animate its first frame, by absolute
motion (Wang et al. 2022, section 4); if the clip is the later part of one that was split by time, the source
is the first frame of the earlier part. Cross-identity: a held-out clip animates the first frames of clips of
other identities.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, get_args

from pydantic import ValidationError

from lia_model.settings import Mode
from preprocessing.settings import Settings
from preprocessing.shards.manifest import Split
from preprocessing.storage.files import write_atomically

FORMAT_VERSION = 1
Protocol = Literal["reconstruction", "cross_identity"]
"""Same identity, compared with the true frames; or another person's motion, without a true result."""
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


class SourceFrame(Settings):
    """The frame that is animated."""

    split: Split
    """Split of its clip: test, or train for a held-out clip that follows a training clip."""
    clip: str
    """Key of its clip."""
    frame: int
    """Number within the clip."""


class Pair(Settings):
    """One source frame and the frames of a held-out clip that drive it."""

    protocol: Protocol
    mode: Mode
    source: SourceFrame
    driving: str
    """Key of the driving clip, of the test split."""
    frames: tuple[int, ...]
    """Numbers of the driving frames."""
    face_frames: tuple[int, ...]
    """Those of `frames` in which faces are read."""
    sha256: str
    """Hash over the stored files of the source frame and of `frames`, in this order."""


class Skipped(Settings):
    """A metric or protocol without a result."""

    what: str
    """Its name."""
    reason: str
    """Why it has no result, and what to do."""


class PairList(Settings):
    """The pairs of an evaluation, stored beside its result."""

    format_version: Literal[1]
    manifest_sha256: str
    """Hash of the manifest.json of the shards that the pairs were chosen from."""
    size_px: int
    """Side of the images."""
    seed: int
    """Determines the choice of cross-identity pairs."""
    num_unknown_identities: int
    """Held-out clips without a named identity; each source video counts as an identity of its own."""
    pairs: tuple[Pair, ...]
    """Grouped by driving clip."""
    skipped: tuple[Skipped, ...]
    """Protocols for which these shards hold no pairs."""


def pair_list_sha256(pairs: PairList) -> str:
    """Return the hash that names a list in the verdict of a release."""
    return hashlib.sha256(pairs.model_dump_json().encode()).hexdigest()


def write_pair_list(pairs: PairList, path: Path) -> None:
    """Write the list as JSON, with one pair per line."""
    content = pairs.model_dump(mode="json")
    lines = ",\n  ".join(json.dumps(pair) for pair in content.pop("pairs"))
    head = json.dumps(content, indent=1).removesuffix("\n}")
    with write_atomically(path) as partial:
        partial.write_text(f'{head},\n "pairs": [\n  {lines}\n ]\n}}\n')


def read_pair_list(path: Path) -> PairList:
    """Read a list that `write_pair_list` wrote.

    Raises:
        ValueError: the file is missing or is not an evaluation list.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: name an evaluation_list.json that `lia evaluate` wrote")
    try:
        return PairList.model_validate(json.loads(path.read_text()))
    except (json.JSONDecodeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} is not an evaluation list ({reason}): name an evaluation_list.json that `lia evaluate` "
            "wrote"
        ) from None
