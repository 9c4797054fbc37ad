"""The result of one source, and the folder of clips that stores it.

`result.json` is written last, so a folder without it, or with another fingerprint, is unfinished work.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from preprocessing.clips.cutting import read_stored_frames, record_file
from preprocessing.clips.members.sound import sound_record
from preprocessing.clips.recordings.signature_file import SignatureFile
from preprocessing.clips.sample import KeptClip, PreparedClip
from preprocessing.clips.thumbnails import read_thumbnails, write_thumbnails
from preprocessing.faces.people import Person
from preprocessing.ledger import ClipRow
from preprocessing.storage.files import write_atomically

RESULT_NAME = "result.json"
THUMBNAILS_NAME = "pictures.zip"
"""Thumbnails of the rejected candidates."""


class SourceResult(BaseModel):
    """Everything one source gives; splits and identities are assigned once all results are known."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    row_key: str
    """Names the source's row in the list."""
    fingerprint: str
    """Hash of everything the result depends on."""
    rows: list[ClipRow]
    """One row per candidate, or a single one for a source without candidates."""
    prepared: list[PreparedClip]
    """The kept clips."""
    people: list[Person]
    """Persons by the number that `rows` use; empty if persons are not told apart."""
    stops: bool = False
    """Whether every other source would fail too, because the disk takes no more data."""

    def summary(self) -> "SourceSummary":
        """Return what the run as a whole needs to know."""
        folders: dict[Path, Path] = {}
        clips = (clip.kept() for clip in self.prepared)
        return SourceSummary(
            self.row_key,
            self.rows,
            # One object for the folder that they have in common.
            [clip._replace(folder=folders.setdefault(clip.folder, clip.folder)) for clip in clips],
            [person.compact() for person in self.people],
        )


class SourceSummary(NamedTuple):
    """The result of one source without anything that its clips have per frame."""

    row_key: str
    """Names the source's row in the list."""
    rows: list[ClipRow]
    """One row per candidate, or a single one for a source without candidates."""
    clips: list[KeptClip]
    people: list[Person]
    """Persons by the number that `rows` use; empty if persons are not told apart."""

    def filed(self, file: SignatureFile) -> "SourceSummary":
        """Return the same with the signatures of its clips in a file, where they take no memory."""
        clips = [clip._replace(signature=file.add(bytes(clip.signature))) for clip in self.clips]
        return self._replace(clips=clips)


def read_prepared(folder: Path) -> dict[str, PreparedClip]:
    """Return the kept clips of a source, by key, from its folder of clips."""
    stored = SourceResult.model_validate_json((folder / RESULT_NAME).read_text())
    return {clip.clip.key: clip for clip in _in_folder(stored, folder).prepared}


def read_result(folder: Path, fingerprint: str) -> SourceResult | None:
    """Return the stored result; None if it is missing or has another fingerprint."""
    path = folder / RESULT_NAME
    if not path.is_file():
        return None
    stored = json.loads(path.read_text())
    # Compared first, since the result of an earlier version may lack a field.
    if stored["fingerprint"] != fingerprint:
        return None
    return _in_folder(SourceResult.model_validate(stored), folder)


def write_result(folder: Path, result: SourceResult, thumbnails: Mapping[str, Sequence[bytes]]) -> None:
    """Store the result, and remove from the folder whatever belongs to no kept clip.

    Args:
        folder: the source's folder of clips, which holds the cut clips already.
        result: what to store.
        thumbnails: JPEG files of the rejected candidates, by key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {name for prepared in result.prepared for name in _stored_files(prepared)}
    if any(thumbnails.values()):
        write_thumbnails(folder / THUMBNAILS_NAME, thumbnails)
        names.add(THUMBNAILS_NAME)
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)
    # Paths are stored without the folder, so that a checkout may move and other machines can read the file.
    with write_atomically(folder / RESULT_NAME) as temporary:
        temporary.write_text(_in_folder(result, Path()).model_dump_json())


def read_preview(clips: Path, row_key: str, key: str) -> list[bytes]:
    """Return picture files that show a candidate: a kept clip's frames, else its thumbnails.

    Args:
        clips: folder of all sources' clips.
        row_key: names the source.
        key: the candidate's key.
    """
    folder = clips / row_key
    frames = read_stored_frames(folder, key)
    return read_thumbnails(folder / THUMBNAILS_NAME, key) if frames is None else frames


def _stored_files(prepared: PreparedClip) -> set[str]:
    members = {path.name for path in prepared.member_files().values()}
    key = prepared.clip.key
    return {prepared.file.name, record_file(Path(), key).name, sound_record(key)} | members


def _in_folder(result: SourceResult, folder: Path) -> SourceResult:
    prepared = [clip.model_copy(update={"file": folder / clip.file.name}) for clip in result.prepared]
    return result.model_copy(update={"prepared": prepared})
