"""From unit costs to hours, machines and money, part by part; pure arithmetic."""

import math
from dataclasses import dataclass

from infra.scale.inputs import Inputs

_HOUR_S = 3600
_GIGABYTE = 1e9


@dataclass(frozen=True)
class Line:
    """One result."""

    part: str
    what: str
    value: float
    unit: str


def estimate(inputs: Inputs) -> list[Line]:
    """Return the needs of all parts, in the order of the loop."""
    return [*_download(inputs), *_factory(inputs), *_store(inputs), *_training(inputs), *_serving(inputs)]


def _download(inputs: Inputs) -> list[Line]:
    hours = inputs["num_videos"] / (inputs["downloads_per_hour"] * inputs["num_addresses"])
    bytes_per_s = inputs["num_videos"] * inputs["video_bytes"] / (hours * _HOUR_S)
    return [
        Line("planning", "time", inputs["planning_s_per_million"] * inputs["num_videos"] / 1e6, "s"),
        Line("download", "time under the host's quota", hours, "h"),
        Line("download", "rate of all addresses", bytes_per_s / 1e6, "MB/s"),
    ]


def _num_frames(inputs: Inputs) -> float:
    return inputs["num_videos"] * inputs["video_s"] * inputs["video_fps"]


def _factory(inputs: Inputs) -> list[Line]:
    frames_per_core_s = inputs["factory_frames_per_core_s"] / inputs["factory_slowdown"]
    core_hours = _num_frames(inputs) / frames_per_core_s / _HOUR_S
    memory = inputs["factory_cores"] * inputs["factory_bytes_per_core"] / _GIGABYTE
    return [
        Line("factory", "processor time", core_hours, "core h"),
        Line("factory", "time on all cores", core_hours / inputs["factory_cores"], "h"),
        Line("factory", "memory of all processes", memory, "GB"),
        Line("factory", "money", core_hours * inputs["cpu_core_hour"], "$"),
    ]


def shard_bytes(inputs: Inputs) -> float:
    """Return the size of all shards."""
    return _num_frames(inputs) * inputs["kept_share"] * inputs["jpeg_bytes"]


def _store(inputs: Inputs) -> list[Line]:
    raw = inputs["num_videos"] * inputs["video_bytes"]
    shards = shard_bytes(inputs)
    per_month = (raw + shards) / _GIGABYTE * inputs["gigabyte_month"]
    return [
        Line("object store", "raw videos", raw / 1e12, "TB"),
        Line("object store", "shards", shards / 1e12, "TB"),
        Line("object store", "money", per_month, "$ a month"),
        Line(
            "object store", "shards, in caches of a training machine", shards / inputs["cache_bytes"], "times"
        ),
    ]


def _training(inputs: Inputs) -> list[Line]:
    num_pairs = inputs["num_steps"] * inputs["global_batch_size"]
    # A GPU takes a whole micro-batch, so a small global batch leaves some without work.
    gpus_fed = min(inputs["num_gpus"], inputs["global_batch_size"] / inputs["micro_batch_size"])
    of_preset = num_pairs / (gpus_fed * inputs["gpu_pairs_per_s"]) / _HOUR_S
    lines = [
        Line("training", "pairs of the recipe", num_pairs / 1e6, "million"),
        Line("training", "GPUs that its global batch feeds", gpus_fed, "GPUs"),
        Line("training", "time on those", of_preset, "h"),
    ]
    for name, micro_batch in (
        ("efficiency_at_64", inputs["micro_batch_size"]),
        ("efficiency_at_64_large", inputs["large_micro_batch"]),
    ):
        speed = inputs["num_gpus"] * inputs["gpu_pairs_per_s"] * inputs[name]
        hours = num_pairs / speed / _HOUR_S
        batch = f"micro-batches of {micro_batch:g}"
        lines += [
            Line("training", f"time on all GPUs, {batch}", hours, "h"),
            Line("training", f"money, {batch}", hours * inputs["num_gpus"] * inputs["gpu_hour"], "$"),
            Line("training", f"data rate, {batch}", speed * 2 * inputs["jpeg_bytes"] / 1e6, "MB/s"),
        ]
    cores = inputs["gpus_per_machine"] * inputs["gpu_pairs_per_s"] / inputs["loader_pairs_per_core_s"]
    return [*lines, Line("training", "cores that decode, a machine", math.ceil(cores), "cores")]


def num_cpu_cores(inputs: Inputs) -> int:
    """Return how many cores animate without a GPU."""
    frames_per_s = inputs["jobs_per_s"] * inputs["job_frames"]
    per_frame = inputs["cpu_frame_core_s"] * inputs["file_overhead"]
    return math.ceil(frames_per_s * per_frame / inputs["utilisation"])


def num_serving_gpus(inputs: Inputs) -> int:
    """Return how many GPUs animate."""
    frames_per_s = inputs["jobs_per_s"] * inputs["job_frames"]
    return math.ceil(frames_per_s / inputs["gpu_frames_per_s"] / inputs["utilisation"])


def _serving(inputs: Inputs) -> list[Line]:
    rate, cores, gpus = inputs["jobs_per_s"], num_cpu_cores(inputs), num_serving_gpus(inputs)
    kept = rate * _HOUR_S * inputs["keep_hours"] * inputs["job_bytes"]
    statements = rate * inputs["job_statements"]
    return [
        Line("serving", "frames", rate * inputs["job_frames"], "a second"),
        Line("serving", "on CPUs", cores, "cores"),
        Line("serving", "on CPUs, money", cores * inputs["cpu_core_hour"], "$ an hour"),
        Line("serving", "on GPUs", gpus, "GPUs"),
        Line("serving", "on GPUs, money", gpus * inputs["gpu_hour"], "$ an hour"),
        Line("serving", "uploads and results", rate * inputs["job_bytes"] / 1e6, "MB/s"),
        Line("serving", "results and uploads kept for serve.keep_hours", kept / 1e12, "TB"),
        Line("serving", "time until serve.max_stored_bytes is full",
             inputs["max_stored_bytes"] / (rate * inputs["job_bytes"]), "s"),
        Line("serving", "arrivals that serve.max_num_queued holds", inputs["max_num_queued"] / rate, "s"),
        Line("queue database", "load", 100 * statements / inputs["database_statements_per_s"], "%"),
        Line("queue database", "saturates at",
             inputs["database_statements_per_s"] / inputs["job_statements"], "jobs/s"),
    ]  # fmt: skip
