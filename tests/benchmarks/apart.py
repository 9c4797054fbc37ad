"""A candidate in a process of its own: what we ask of the system's memory for ours does not reach it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch


class Apart:
    """Call it to run once, in a fresh interpreter, what `build(*arguments)` returns there.

    Args:
        build: importable by name; arguments: what it takes, which must pickle.
    """

    def __init__(self, build: Callable[..., Callable[[], object]], *arguments: object) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_serve, args=(theirs, torch.get_num_threads(), build, arguments), daemon=True
        )
        self._process.start()
        theirs.close()

    def __call__(self) -> None:
        """Run it once and wait for the end."""
        self._connection.send("run")
        self._connection.recv()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, num_threads: int, build: Callable, arguments: tuple) -> None:
    torch.set_num_threads(num_threads)
    run = build(*arguments)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        run()
        connection.send("done")
