"""Planning a run over a million sources: the list read and checked, set against the ledger, put into units.

Runs as a program of its own (`python -m tests.benchmarks.planning`), so that its memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.timing import Row
from tests.peak_memory import peak_bytes

NUM_ROWS = 1_000_000
FLOOR = """
import csv, hashlib, sys
with open(sys.argv[1], newline="") as file:
    for row in csv.reader(file):
        hashlib.sha1(row[0].encode()).hexdigest()
"""
"""What nobody gets below in Python: splitting the lines and hashing the addresses."""


def measure(num_rounds: int) -> Iterator[Row]:
    """Time the steps of planning, and a bare pass over the same list."""
    with tempfile.TemporaryDirectory() as folder:
        sources, ledger = Path(folder) / "sources.csv", Path(folder) / "sources.parquet"
        _write_list(sources)
        _run("write", sources, ledger)
        rounds, bare = [], []
        for _ in range(num_rounds):
            rounds.append(json.loads(_run("plan", sources, ledger)))
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", FLOOR, str(sources)], check=True)
            bare.append(time.perf_counter() - started)
    steps = ", ".join(f"{name} {rounds[-1][name]:.1f} s" for name in ("read", "diff", "group"))
    peak = max(each["peak_gb"] for each in rounds)
    note = f"{steps}; at most {peak:.2f} GB; found: {rounds[-1]['found']}"
    seconds = {"ours": [each["total"] for each in rounds], "splitting and hashing": bare}
    yield Row("planning", f"{NUM_ROWS} sources", seconds, note)


def _write_list(path: Path) -> None:
    with path.open("w") as file:
        file.write("url,start_s,end_s,bbox,width,height,identity,split\n")
        for number in range(NUM_ROWS):
            video, part = divmod(number, 4)
            file.write(
                f"https://www.youtube.com/watch?v={video:011d},{10 * part},{10 * part + 9.5},"
                f"{part}-20-110-220,640,360,id{video // 25:06d},auto\n"
            )


def _run(step: str, sources: Path, ledger: Path) -> str:
    command = [sys.executable, "-m", "tests.benchmarks.planning", step, str(sources), str(ledger)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _write(sources: Path, ledger: Path) -> None:
    """Write a ledger in which the last row of a hundred is missing and another has changed."""
    from dataclasses import replace

    from preprocessing.ledger import Download, SourceRow, write_sources
    from preprocessing.outcome import DownloadStatus
    from preprocessing.sources.source_list import read_sources

    rows = []
    for number, source in enumerate(read_sources(sources)):
        said = replace(source, identity=None) if number % 100 == 0 else source
        if number % 100 != 99:
            rows.append(SourceRow(said, Download(status=DownloadStatus.VERIFIED, file=f"{source.key}.mp4")))
    write_sources(ledger, rows)


def _plan(sources: Path, ledger: Path) -> dict[str, object]:
    from preprocessing.clips.units import group_into_units
    from preprocessing.download.changes import difference
    from preprocessing.ledger import iterate_sources
    from preprocessing.sources.source_list import read_sources

    times = [time.perf_counter()]
    listed = read_sources(sources)
    times.append(time.perf_counter())
    found = difference(listed, iterate_sources(ledger))
    times.append(time.perf_counter())
    units = group_into_units(listed, 100, lambda source: source)
    times.append(time.perf_counter())
    return {
        "read": times[1] - times[0],
        "diff": times[2] - times[1],
        "group": times[3] - times[2],
        "total": times[3] - times[0],
        "peak_gb": peak_bytes() / 1e9,
        "found": f"{found}, in {len(units)} units",
    }


if __name__ == "__main__":
    step, *paths = sys.argv[1:]
    if step == "write":
        _write(*map(Path, paths))
    else:
        print(json.dumps(_plan(*map(Path, paths))))
