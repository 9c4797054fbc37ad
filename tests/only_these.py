"""Runs a program that can import only the distributions of a requirements file, and what they require.

    python -m tests.only_these REQUIREMENTS PROGRAM [ARGUMENT...]

PROGRAM is a module. At the end the listed distributions that it imported are written to standard output, as
the last line.
"""

import importlib.metadata
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = {"lia_model", "preprocessing", "pipelines", "tests"}


def listed(path: Path) -> set[str]:
    """Return the distributions that a requirements file names."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return {canonicalize_name(Requirement(line).name) for line in lines if line}


def with_requirements(names: set[str]) -> set[str]:
    """Return the distributions and all that they require."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # Of another platform.
        for each in map(Requirement, required):
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(each.name))
    return found


def distributions_of_modules() -> dict[str, set[str]]:
    """Return the distributions that hold each top-level module."""
    pairs = importlib.metadata.packages_distributions().items()
    return {module: set(map(canonicalize_name, names)) for module, names in pairs}


def hide(modules: set[str]) -> None:
    """Make top-level modules as if they were not installed.

    Not by a finder of its own in sys.meta_path: one cannot say there that a module is absent.
    """
    find = PathFinder.find_spec

    def find_others(
        cls: type, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if fullname.split(".")[0] in modules else find(fullname, path, target)

    PathFinder.find_spec = classmethod(find_others)
    for module in [each for each in sys.modules if each.split(".")[0] in modules]:
        del sys.modules[module]


def main() -> None:
    requirements, program, *arguments = sys.argv[1:]
    names = listed(Path(requirements))
    allowed = with_requirements(names)
    holders = distributions_of_modules()
    hidden = {module for module, owners in holders.items() if not owners & allowed} - OURS
    hide(hidden)
    sys.argv = [program, *arguments]
    code: object = 0
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    imported = {owner for module in set(sys.modules) & set(holders) for owner in holders[module]}
    sys.stdout.write(" ".join(sorted(names & imported)) + "\n")
    sys.exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
