"""A project for each test, and `lia` run in it by this process."""

import importlib
import inspect
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines import cli, presets


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line with which a command refused bad input."""
        assert self.code == 2
        (line,) = self.err.splitlines()
        return line.removeprefix("lia: ")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the recipe `demo`; the working directory, with no variable of ours set."""
    presets.write_preset("demo", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    # Commands put the tools' variables into this process; the next test must not inherit them.
    own = {name: value for name, value in os.environ.items() if not name.startswith("LIA_")}
    monkeypatch.setattr(os, "environ", own)
    return tmp_path


@pytest.fixture
def lia(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Function that runs `lia` with some arguments in the project."""
    for package in ("preprocessing", "lia_model", "pipelines"):
        # Restores the level that `main` sets.
        monkeypatch.setattr(logging.getLogger(package), "level", logging.NOTSET)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["lia", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Function that puts a recorder in a function's place; returns its calls, each as arguments by name.

    The arguments are bound to the signature of the real function, which therefore accepts them.
    """

    def put(name: str, result: object = None) -> list[dict[str, Any]]:
        module, _, function = name.rpartition(".")
        signature = inspect.signature(getattr(importlib.import_module(module), function))
        calls: list[dict[str, Any]] = []

        def recorder(*args: object, **kwargs: object) -> object:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            calls.append(bound.arguments)
            return result

        monkeypatch.setattr(name, recorder)
        return calls

    return put
