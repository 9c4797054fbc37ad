"""Named recipes: whole params.yaml files, and the command that writes one."""

from importlib import resources
from pathlib import Path

from preprocessing.storage.files import write_atomically

NAMES = ("demo", "vox256", "vox256-bf16", "taichi256", "ted384")


def read_preset(name: str) -> str:
    """Return the text of the recipe `name`.

    Raises:
        ValueError: there is no such recipe.
    """
    if name not in NAMES:
        raise ValueError(f"no recipe is called {name!r}: choose one of {', '.join(NAMES)}")
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text()


def has_own_values(path: Path) -> bool:
    """Say whether `path` exists and differs from every recipe, that is, holds an operator's edits."""
    return path.is_file() and path.read_text() not in [read_preset(name) for name in NAMES]


def write_preset(name: str, path: Path) -> None:
    """Replace the file `path` by the recipe `name`.

    Raises:
        ValueError: there is no such recipe.
    """
    text = read_preset(name)
    with write_atomically(path) as partial:
        partial.write_text(text)
