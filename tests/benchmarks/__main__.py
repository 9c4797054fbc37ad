"""`make bench`: ours against the published formulation and the floor, on a CPU or a GPU, by turns in one run.

Prints a table and writes it as JSON and as a picture. Ratios of one run are what counts: machines are shared.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

from lia_model.device.allocator import keep_freed_memory
from lia_model.device.precision import has_native_bf16
from lia_model.device.selection import resolve_device
from tests.benchmarks import checkpoint, model, ops, training
from tests.benchmarks.timing import Row

VGG = Path("models/vgg16.safetensors")
SECTIONS = (
    "model",
    "end to end",
    "op",
    "training",
    "checkpoint",
    "loader",
    "factory",
    "parts",
    "planning",
    "ray",
    "service",
    "import",
)


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto (a GPU where there is one)")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of each candidate")
    parser.add_argument("--quick", action="store_true", help="256 px, batch 1 and 4, nothing compiled")
    parser.add_argument(
        "--no-compiled", action="store_true", help="leave out torch.compile, which takes minutes"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    # As our programs do. The published formulation runs in processes of its own, and once here, to see what
    # of the gain is ours; the floor gains by it too.
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    machine = describe_machine(device)
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    print(f"\n{'':<58}{'ours ms':>10}  {'others, times ours':<40}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    stem = options.output / f"{device.type}-{datetime.now(UTC):%Y-%m-%d-%H%M}"
    rows = []
    for row in measure(options, device):
        rows.append(row)
        print(as_line(row), flush=True)
        # After each: a run that is cut short leaves what it has measured.
        write(stem, machine, rows)
    print(f"\nwritten: {stem}.json, {stem}.png")


def measure(options: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Yield the rows of the sections asked for, in their order."""
    on_gpu = device.type == "cuda"
    precisions = ["fp32", "bf16"] if has_native_bf16(device) else ["fp32"]
    if len(precisions) == 1:
        print(f"(no bf16 rows: {device} does not compute bf16 natively)")
    if "model" in options.sections:
        yield from model.measure(model_cases(options, precisions, on_gpu), device)
    if "end to end" in options.sections and (end_to_end := load_section("end_to_end")):
        num_frames = 256 if on_gpu else 16 if options.quick else 32
        for precision in precisions:
            yield from end_to_end.measure(256, num_frames, precision, options.rounds, device)
    if "op" in options.sections:
        dtype = model.DTYPES[precisions[-1]]
        yield from ops.measure(16 if on_gpu else 4, max(5, options.rounds), dtype, device)
    if "training" in options.sections:
        yield from measure_training(options, precisions, device)
    if "checkpoint" in options.sections:
        yield from checkpoint.measure(options.rounds, device)
    yield from measure_data(options)
    yield from measure_clusters(options)
    if "import" in options.sections:
        yield import_time(options.rounds)


def measure_training(
    options: argparse.Namespace, precisions: list[str], device: torch.device
) -> Iterator[Row]:
    """Yield the rows of the training step, on a CPU of its parts, two workers and, computed, many GPUs."""
    on_gpu = device.type == "cuda"
    yield from training.measure(32 if on_gpu else 2, precisions, options.rounds, VGG, device)
    if not on_gpu and (phases := load_section("training_phases")):
        yield from phases.measure(options.rounds, VGG)
    if not on_gpu and (exchange := load_section("cluster.all_reduce")):
        yield from exchange.measure(options.rounds, VGG)
    if not on_gpu and (scaling := load_section("cluster.weak_scaling")):
        yield from scaling.measure(VGG)


def measure_data(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of the sections about data, where their libraries are."""
    for name in ("loader", "factory", "parts", "planning"):
        if name in options.sections and (section := load_section(name)):
            yield from section.measure(options.rounds)
            if name == "planning":
                yield from import_module("tests.benchmarks.shard_index").measure(options.rounds)


def measure_clusters(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of the sections that start Ray, where it is."""
    for section, module in (("ray", "cluster.ray_overhead"), ("service", "service")):
        if section in options.sections and (loaded := load_section(module)):
            yield from loaded.measure(options.rounds)


def model_cases(options: argparse.Namespace, precisions: list[str], on_gpu: bool) -> list[model.Case]:
    """Return which sizes and batches are timed; a CPU leaves out the one that takes a quarter of an hour."""
    if options.quick:
        shapes = [(256, 1), (256, 4)]
    else:
        shapes = [(256, 1), (256, 4), (256, 16), (512, 1), (512, 4), (512, 16)]
        shapes = shapes if on_gpu else shapes[:-1]
    with_compiled = not (options.quick or options.no_compiled)
    return [
        model.Case(size_px, batch_size, precision, options.rounds, with_compiled and batch_size == 1)
        for precision in precisions
        for size_px, batch_size in shapes
    ]


def load_section(name: str) -> ModuleType | None:
    """Import a section; say what it lacks where that fails: a bare GPU machine has torch and little else."""
    try:
        if name == "planning":
            import_module("pyarrow")
        return import_module(f"tests.benchmarks.{name}")
    except ImportError as error:
        print(f"(no rows of {name.replace('_', ' ')}: {error})")
        return None


def import_time(num_rounds: int) -> Row:
    """Time a fresh interpreter that imports the animator, and one that imports torch alone."""
    seconds: dict[str, list[float]] = {"ours": [], "torch alone": []}
    for _ in range(num_rounds + 1):
        for name, module in (("ours", "lia_model.animator"), ("torch alone", "torch")):
            code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            seconds[name].append(float(done.stdout))
    beyond = [a - b for a, b in zip(seconds["ours"], seconds["torch alone"], strict=True)]
    note = f"{min(beyond):.2f} to {max(beyond):.2f} s beyond torch"
    return Row("import", "import lia_model.animator", {name: s[1:] for name, s in seconds.items()}, note)


def describe_machine(device: torch.device) -> dict[str, str]:
    """Return what a reader needs to place the numbers."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "device": name,
        "threads": str(torch.get_num_threads()),
        "native bf16": str(has_native_bf16(device)),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
        "command": " ".join(["python -m tests.benchmarks", *sys.argv[1:]]),
    }


def cpu_name() -> str:
    """Return the processor's name and vector instructions."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    return f"{fields.get('model name', platform.processor())}, {torch.backends.cpu.get_cpu_capability()}"


def as_line(row: Row) -> str:
    """Lay one row out for a terminal."""
    others = ", ".join(f"{name} {row.ratio(name):.2f}" for name in row.seconds if name != "ours")
    notes = [row.note] if row.note else []
    if "floor" in row.seconds:
        notes.insert(0, f"ours is {row.ratio('ours', 'floor'):.2f} floors")
    head = f"{row.section}: {row.name}"
    return f"{head:<58}{row.median_ms('ours'):>10.2f}  {'; '.join([others, *notes])}"


def write(stem: Path, machine: dict[str, str], rows: list[Row]) -> None:
    """Write every measured second, and a picture of the model's and the end-to-end rows."""
    document = {
        "machine": machine,
        "rows": [
            {
                "section": row.section,
                "name": row.name,
                "seconds": row.seconds,
                "times_ours": {name: row.ratio(name) for name in row.seconds},
                "note": row.note,
            }
            for row in rows
        ],
    }
    stem.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    draw(stem.with_suffix(".png"), machine, [row for row in rows if row.section in ("model", "end to end")])


def draw(path: Path, machine: dict[str, str], rows: list[Row]) -> None:
    """Draw milliseconds a frame as bars."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("(no picture: matplotlib is not installed)")
        return
    if not rows:
        return
    figure = Figure(figsize=(9, 1.2 + 0.75 * len(rows)), layout="constrained")
    axes = figure.add_subplot(xlabel="milliseconds a frame (median; less is better)")
    colors = {
        "floor": "#bbbbbb",
        "model alone": "#bbbbbb",
        "ours": "#1b6ca8",
        "compiled": "#e0a458",
        "compiled bf16": "#e0a458",
        "published, memory kept": "#d99694",
        "published bf16": "#c0504d",
        "published": "#c0504d",
    }
    for place, row in enumerate(rows):
        names = [name for name in colors if name in row.seconds]
        for number, name in enumerate(names):
            y = place + (number - (len(names) - 1) / 2) * 0.8 / len(names)
            value = row.median_ms(name)
            axes.barh(y, value, 0.75 / len(names), color=colors[name])
            axes.text(value, y, f" {name} {value:.0f}", va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [f"{row.section}\n{row.name}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(f"{machine['device']}, {machine['threads']} threads, {machine['date']}", fontsize=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
