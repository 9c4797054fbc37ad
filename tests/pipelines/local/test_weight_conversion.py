import pickle

import numpy as np
import pytest
from safetensors.numpy import load

from pipelines.local.weight_conversion import convert_trunk, read_pickled_arrays


def pickled(value: object) -> bytes:
    """Pickle as numpy 1 did, whose module names the published files carry."""
    return pickle.dumps(value, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("pwned",)


def test_the_unpickler_reads_arrays_and_nothing_else() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(read_pickled_arrays(pickled({"a": {"b": array}}))["a"]["b"], array)
    with pytest.raises(pickle.UnpicklingError, match="builtin"):
        read_pickled_arrays(pickled({"a": Evil()}))


def test_kernels_become_out_in_height_width() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 5, 4, 2)).astype(np.float32)
    head = np.ones((1, 1, 2, 1), np.float32)
    layers = {"Conv_0": {"kernel": kernel, "bias": np.zeros(2, np.float32)}}
    heads = {f"NetLinLayer_{level}": {"Conv_0": {"kernel": head}} for level in range(5)}
    tensors = load(convert_trunk(pickled({"Trunk": layers} | heads), "Trunk", ["conv1"]))
    assert tensors["conv1.weight"].shape == (2, 4, 3, 5)
    assert tensors["conv1.weight"][1, 2, 0, 4] == kernel[0, 4, 2, 1]
    assert tensors["lin4.weight"].shape == (1, 2, 1, 1)
