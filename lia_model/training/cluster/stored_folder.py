"""Folders in a store, of which a killed writer leaves no half that is taken for a whole: hashes come last."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lia_model.checkpoints.file_hashes import HASHES, damaged_files

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def upload_folder(files: FileSystem, folder: Path, place: str) -> None:
    """Copy a folder of this machine, with its hashes, to a place where there is none yet."""
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    for name in sorted(names, key=lambda name: name == Path(HASHES)):
        upload_file(files, folder / name, f"{place}/{name.as_posix()}")


def upload_file(files: FileSystem, path: Path, place: str) -> None:
    """Copy a file of this machine."""
    from pyarrow.fs import LocalFileSystem, PyFileSystem, copy_files

    from preprocessing.storage.patient_files import PatientHandler

    files.create_dir(place.rpartition("/")[0])
    if isinstance(files, PyFileSystem) and isinstance(files.handler, PatientHandler):
        files.handler.put_file(path, place)
    else:
        copy_files(str(path), place, source_filesystem=LocalFileSystem(), destination_filesystem=files)


def download_file(files: FileSystem, place: str, path: Path) -> None:
    """Copy a file to this machine."""
    from pyarrow.fs import LocalFileSystem, copy_files

    copy_files(place, str(path), source_filesystem=files, destination_filesystem=LocalFileSystem())


def download_folder(files: FileSystem, place: str, folder: Path) -> None:
    """Copy a folder to `folder`, which is made on this machine, and compare the files with their hashes.

    Raises:
        ValueError: the folder or a file in it is missing, cut short or changed.
    """
    from pyarrow.fs import copy_files

    folder.mkdir(parents=True)
    with suppress(FileNotFoundError):
        copy_files(place, str(folder), source_filesystem=files)
    wrong = damaged_files(folder)
    if wrong:
        raise ValueError(
            f"{place}/{wrong[0]} is missing or not the file that training wrote ({len(wrong)} files differ)"
        )


def folders_in(files: FileSystem, place: str) -> list[str]:
    """Return the names of the folders in a folder; none if there is no such folder."""
    from pyarrow.fs import FileSelector, FileType

    listed = files.get_file_info(FileSelector(place, allow_not_found=True))
    return sorted(file.base_name for file in listed if file.type == FileType.Directory)


def read_file(files: FileSystem, place: str) -> bytes:
    """Return the content of a file."""
    with files.open_input_stream(place) as file:
        return file.read()


def is_file(files: FileSystem, place: str) -> bool:
    """Return whether there is a file at a place."""
    from pyarrow.fs import FileType

    return files.get_file_info(place).type == FileType.File


def is_finished(files: FileSystem, place: str) -> bool:
    """Return whether the writer of a folder came to its end."""
    return is_file(files, f"{place}/{HASHES}")


def remove_folder(files: FileSystem, place: str) -> None:
    """Remove a folder if it is there; its hashes go first, so that a rest of it is none."""
    for remove, path in ((files.delete_file, f"{place}/{HASHES}"), (files.delete_dir, place)):
        with suppress(FileNotFoundError):
            remove(path)
