"""Importers of published lists, one file each; to add one, add a file.

A module's name is the format's name (`voxceleb_txt` is `--format voxceleb-txt`); its `IMPORTER` reads it.
See `preprocessing.sources.importer`.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preprocessing.sources.importer import Importer


def importer_names() -> list[str]:
    """Return the names of all formats, sorted; no importer is loaded."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(__path__))


def load_importer(name: str) -> "Importer":
    """Return the importer of one of `importer_names()`."""
    return import_module(f"{__name__}.{name.replace('-', '_')}").IMPORTER
