import hashlib
import subprocess
import tarfile
import time
from io import BytesIO
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from pipelines.local import fetch
from pipelines.local.packages import Package, PackagedFile


def test_the_fetched_networks_have_every_layer(models: Path) -> None:
    vgg = load_file(models / "vgg16.safetensors")
    assert sum(name.startswith("conv") for name in vgg) == 2 * 13
    assert vgg["conv5_3.weight"].shape == (512, 512, 3, 3)
    alexnet = load_file(models / "lpips_alex.safetensors")
    assert alexnet["conv1.weight"].shape == (64, 3, 11, 11)
    for tensors in (vgg, alexnet):
        assert all((tensors[f"lin{level}.weight"] >= 0).all() for level in range(5))


def test_a_second_fetch_finds_everything_at_once(models: Path, samples: Path) -> None:
    started_s = time.monotonic()
    fetch.fetch_models(models)
    fetch.fetch_samples(samples)
    assert time.monotonic() - started_s < 1


def test_a_changed_file_counts_as_missing(tmp_path: Path) -> None:
    package = a_package(b"new")
    (tmp_path / "thing.bin").write_bytes(b"old")
    assert fetch.missing_files([package], tmp_path) == list(package.files)
    (tmp_path / "thing.bin").write_bytes(b"new")
    assert fetch.missing_files([package], tmp_path) == []


def test_a_file_of_another_content_is_refused(tmp_path: Path) -> None:
    package = a_package(b"expected")
    archive = tmp_path / "thing-1.tar.gz"
    with tarfile.open(archive, "w:gz") as sdist:
        entry = tarfile.TarInfo("thing-1/folder/thing.bin")
        entry.size = 5
        sdist.addfile(entry, BytesIO(b"other"))
    with pytest.raises(fetch.FetchError, match=r"folder/thing\.bin in thing==1 has sha256"):
        fetch._read_packaged(archive, package, package.files[0])


def test_offline_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(fetch.FetchError, match="connect this machine to a package index") as caught:
        fetch.fetch_models(tmp_path)
    assert "\n" not in str(caught.value)


def test_nothing_is_left_behind_by_a_failed_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "ERROR: no route to host")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(fetch.FetchError, match="no route to host"):
        fetch.fetch_samples(tmp_path / "samples")
    assert not (tmp_path / "samples").exists()


def test_a_conversion_that_gives_other_bytes_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    (file,) = a_package(b"expected").files
    with pytest.raises(fetch.FetchError, match=r"thing\.bin was converted to sha256 .*make setup"):
        fetch._write(file, b"other", tmp_path)
    assert list(tmp_path.iterdir()) == []


def a_package(content: bytes) -> fetch.Package:
    sha256 = hashlib.sha256(content).hexdigest()
    file = PackagedFile("folder/thing.bin", sha256, "thing.bin", sha256)
    return Package("thing==1", "", is_wheel=False, files=(file,))
