"""`python -m infra.scale [NAME=VALUE…]`: print the estimate as Markdown tables, with some inputs changed."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence

from infra.scale.estimate import estimate
from infra.scale.inputs import Inputs, read_inputs
from infra.scale.queue import simulate

_LOADS = (0.8, 0.95, 1.05)
_DURATION_S = 1800
_SEED = 0


def report(inputs: Inputs) -> str:
    """Return the results, the queue's simulation and the inputs as Markdown."""
    return "\n".join([*_results(inputs), "", *_queue(inputs), "", *_given(inputs)]) + "\n"


def number(value: float) -> str:
    """Return a number to three significant digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def _results(inputs: Inputs) -> Iterator[str]:
    yield from ("| part | what | result | unit |", "|---|---|---|---|")
    for line in estimate(inputs):
        yield f"| {line.part} | {line.what} | {number(line.value)} | {line.unit} |"


def _queue(inputs: Inputs) -> Iterator[str]:
    yield from ("| load of the GPUs | GPUs | median wait, s | 99 %, s | refused |", "|---|---|---|---|---|")
    job_s = inputs["job_frames"] / inputs["gpu_frames_per_s"]
    for load in _LOADS:
        num_workers = math.ceil(inputs["jobs_per_s"] * job_s / load)
        waiting = simulate(
            jobs_per_s=inputs["jobs_per_s"],
            job_s=job_s,
            num_workers=num_workers,
            max_num_queued=inputs["max_num_queued"],
            duration_s=_DURATION_S,
            seed=_SEED,
        )
        yield (
            f"| {load:.0%} | {num_workers} | {waiting.median_s:.2f} | {waiting.p99_s:.2f} "
            f"| {waiting.refused:.1%} |"
        )


def _given(inputs: Inputs) -> Iterator[str]:
    yield from ("| input | value | basis | source |", "|---|---|---|---|")
    for name, one in inputs.given.items():
        yield f"| `{name}` | {one.value:,.10g} | {one.basis} | {one.source} |"


def main(arguments: Sequence[str]) -> int:
    """Print the report and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.scale", description=__doc__)
    parser.add_argument("changes", nargs="*", metavar="NAME=VALUE")
    try:
        pairs = [change.split("=", 1) for change in parser.parse_args(arguments).changes]
        inputs = read_inputs().changed({name: float(value) for name, value in pairs})
    except ValueError as error:
        sys.stderr.write(f"scale: {error}; write NAME=VALUE, for example num_gpus=8\n")
        return 2
    sys.stdout.write(report(inputs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
