"""What a machine has, what it lacks, and what to do about it."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.environment import Environment, variable_name
from pipelines.local import fetch
from pipelines.local.listeners import Listener, service_listeners
from pipelines.local.ports import is_port_taken
from pipelines.local.reports import Row
from pipelines.process import live_record, record_path

_PACKAGES = (
    "torch", "ray", "prefect", "mlflow", "dvc", "webdataset", "yt-dlp", "insightface", "onnxruntime", "av",
    "numpy",
)  # fmt: skip
_LEAST_FREE_BYTES = 5_000_000_000

# In a process of its own: a broken torch or driver must not take the doctor down, and pipelines import no
# torch.
_ASK_TORCH = """
import json, torch
print(json.dumps({
    "threads": torch.get_num_threads(),
    "bf16": torch.cpu._is_avx512_bf16_supported(),
    "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
}))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    what: str
    """The thing looked at."""
    state: Literal["ok", "absent", "missing"]
    """`absent` is fine to do without; `missing` is required."""
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do about it, where something can be done."""


def examine(environment: Environment) -> list[Finding]:
    """Look at everything."""
    paths = environment.paths
    return [
        _python(),
        *(_package(name) for name in _PACKAGES),
        _dlib(),
        *_torch(),
        _opencv(),
        _ffmpeg(),
        *_files("models", fetch.MODELS, paths.models),
        *_files("samples", fetch.SAMPLES, paths.samples),
        *_ports(environment.ports(), paths.services),
        *_listening(paths.services),
        _disk(paths.root),
        _store(environment.store_url),
        Finding("project", "ok", str(paths.root)),
        Finding("tools' homes", "ok", f"{paths.runs}, Ray's in {paths.ray_home}"),
    ]


def is_required_missing(findings: Iterable[Finding]) -> bool:
    """Say whether something is missing that the pipeline cannot do without."""
    return any(one.state == "missing" for one in findings)


def finding_rows(findings: Iterable[Finding]) -> list[Row]:
    """Return a row for each finding: state, subject, detail and remedy."""
    return [
        (one.state, one.what, one.detail + (f" -> {one.remedy}" if one.remedy else "")) for one in findings
    ]


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return Finding("python", "ok", version)
    return Finding("python", "missing", version, "use Python 3.11 or 3.12")


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", "not installed", "make setup")


def _dlib() -> Finding:
    # Looked for by its module: where there is no wheel of dlib-bin (macOS), people build dlib itself.
    if importlib.util.find_spec("dlib") is not None:
        return Finding("dlib", "ok", "for landmarks and identities in the evaluation")
    detail = "the evaluation leaves out AKD, MKR, AED, CSIM and motion"
    return Finding("dlib", "absent", detail, "pip install dlib, which builds it with cmake")


def _torch() -> list[Finding]:
    done = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return [Finding("torch runs", "missing", reason, "make setup")]
    facts = json.loads(done.stdout)
    gpus = ", ".join(facts["gpus"])
    return [
        Finding("threads", "ok", f"{facts['threads']} of torch on {os.cpu_count()} cores"),
        Finding("native bf16", "ok", "CPU")
        if facts["bf16"]
        else Finding("native bf16", "absent", "CPU computes fp32"),
        Finding("GPU", "ok", gpus) if gpus else Finding("GPU", "absent", "training at 256 px needs one"),
    ]


def _opencv() -> Finding:
    done = subprocess.run([sys.executable, "-c", "import cv2"], capture_output=True, text=True)
    if done.returncode == 0:
        return Finding("opencv loads", "ok", "with its system libraries")
    reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return Finding("opencv loads", "missing", reason, "infra/debian-packages.sh installs its libraries")


def _ffmpeg() -> Finding:
    import imageio_ffmpeg

    try:
        return Finding("ffmpeg", "ok", imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        return Finding("ffmpeg", "missing", str(error), "make setup")


def _files(what: str, packages: Iterable[fetch.Package], folder: Path) -> list[Finding]:
    packages = list(packages)
    missing = {member.target for member in fetch.missing_members(packages, folder)}
    return [
        Finding(member.target, "absent", f"not in {folder}, or changed", f"lia fetch {what}")
        if member.target in missing
        else Finding(member.target, "ok", f"sha256 {member.target_sha256[:12]}…")
        for package in packages
        for member in package.members
    ]


def _ports(ports: Mapping[str, int], services: Path) -> list[Finding]:
    own = {
        "prefect_port": "prefect",
        "mlflow_port": "mlflow",
        "ray_port": "ray",
        "ray_dashboard_port": "ray",
        "serve_port": "ray",
        "samples_port": "samples",
    }
    findings = []
    for field, service in own.items():
        port = ports[field]
        variable = variable_name(field)
        if not is_port_taken(port):
            findings.append(Finding(f"port {port}", "ok", f"free ({variable})"))
        elif live_record(record_path(services, service)) is not None:
            findings.append(Finding(f"port {port}", "ok", f"used by this project ({variable})"))
        else:
            findings.append(Finding(f"port {port}", "absent", "taken by another program", f"set {variable}"))
    return findings


def _listening(services: Path) -> list[Finding]:
    """Say for each service that runs, with what is deployed on it, where it listens."""
    records = {path.stem: live_record(path) for path in sorted(services.glob("*.json"))}
    return [
        _where_it_listens(name, service_listeners(record))
        for name, record in records.items()
        if record is not None
    ]


def _where_it_listens(name: str, listeners: list[Listener]) -> Finding:
    public = [one for one in listeners if not one.is_loopback]
    what = f"{name} listens"
    if public:
        detail = "reachable from other machines: " + ", ".join(f"{one} ({one.program})" for one in public)
        return Finding(what, "absent", detail, "`lia stop` unless `lia serve --host` asked for it")
    ports = ", ".join(str(port) for port in sorted({one.port for one in listeners}))
    return Finding(what, "ok", f"on loopback alone: {ports or 'no port yet'}")


def _disk(root: Path) -> Finding:
    free_bytes = shutil.disk_usage(root).free
    detail = f"{free_bytes / 1e9:.0f} GB free"
    if free_bytes < _LEAST_FREE_BYTES:
        return Finding("disk", "missing", detail, f"make room: {_LEAST_FREE_BYTES / 1e9:.0f} GB are needed")
    return Finding("disk", "ok", detail)


def _store(url: str | None) -> Finding:
    from preprocessing.storage.object_store import Store, StoreError

    if url is None:
        return Finding("store", "absent", "data stays on this machine", "set LIA_STORE_URL to share it")
    try:
        Store(url).check()
    except StoreError as error:
        return Finding(
            "store", "missing", str(error), "correct LIA_STORE_URL; S3 needs `pip install '.[s3]'`"
        )
    return Finding("store", "ok", url)
