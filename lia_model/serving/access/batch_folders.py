"""Which files of the server a batch may read and write.

The inputs are everybody's. Of the outputs, a caller that is no admin has the folder of its own name in each,
to write to and to read from.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lia_model.serving.access.scopes import Caller
from lia_model.serving.errors import bad_field


@dataclass(frozen=True)
class BatchFolders:
    """The folders that batches may use. Messages name the setting, since clients do not see the folders."""

    root: Path
    """Folder of the project, which relative paths of a batch start from."""
    inputs: tuple[Path, ...]
    """Folders that batches read from."""
    outputs: tuple[Path, ...]
    """Folders that batches write to."""

    def require_apart_from_the_project(self) -> None:
        """Require that no result can replace the project's own files.

        Raises:
            ValueError: a folder that batches write to is, or holds, the project or its repository.
        """
        root = self.root.resolve()
        for folder in self.outputs:
            resolved = folder.resolve()
            if root.is_relative_to(resolved) or resolved.is_relative_to(root / ".git"):
                raise ValueError(
                    f"serve.batch_outputs has {folder}, which holds files of the project; results need a "
                    "folder of their own: name one such as out"
                )

    def input_path(self, field: str, text: str, caller: Caller) -> Path:
        """Return the path of a file to read, with links resolved.

        Raises:
            RefusalError: it is no path in one of the folders, or it is a result of another owner.
        """
        path = self._allowed(field, text, self.inputs, "serve.batch_inputs")
        if any(path.is_relative_to(folder.resolve()) for folder in self.outputs):
            self._require_own(field, text, path, caller)
        return path

    def output_path(self, field: str, text: str, caller: Caller) -> Path:
        """Return the path of a folder to write to, with links resolved.

        Raises:
            RefusalError: it is no path in one of the folders, or it is not in the caller's own.
        """
        path = self._allowed(field, text, self.outputs, "serve.batch_outputs")
        self._require_own(field, text, path, caller)
        return path

    def _require_own(self, field: str, text: str, path: Path, caller: Caller) -> None:
        owner = caller.visible_owner
        if owner is None or any(path.is_relative_to(folder.resolve() / owner) for folder in self.outputs):
            return
        raise bad_field(
            field,
            f"{text} is not in the caller's own folder; only a token of scope admin uses all of the folders "
            f"that serve.batch_outputs names: give a path in the folder {owner} in one of them",
        )

    def _allowed(self, field: str, text: str, folders: Sequence[Path], setting: str) -> Path:
        if "://" in text:
            raise bad_field(field, f"{text} is a URL; give a path in a folder that {setting} names")
        if "\0" in text:
            raise bad_field(field, "the path has a null character; remove it")
        # Not `Path.resolve`, which raises a RuntimeError where links form a loop.
        path = Path(os.path.realpath(self.root / text))
        for folder in folders:
            resolved = folder.resolve()
            if path.is_relative_to(resolved):
                if any(part.startswith(".") for part in path.relative_to(resolved).parts):
                    raise bad_field(field, f"{text} is hidden; give a path whose names start with no dot")
                return path
        raise bad_field(
            field, f"{text} is outside the folders that {setting} names; move it there, or add its folder"
        )
