"""Counts kernel launches and the bytes that they read and write, on fake or real tensors, without a GPU.

Every operation that computes is one launch that reads its inputs and writes its outputs once; views are free.
The project's own operators count by what they launch, with their kernels left out.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lia_model.ops import dispatch, kernels
from lia_model.ops.kernels import bias_act, l1, projection, upfirdn2d, warp

OPERATORS = {
    f"lia::{name}": getattr(module, name)._init_fn
    for module in (bias_act, l1, projection, upfirdn2d, warp)
    for name in vars(module)
    if hasattr(getattr(module, name), "_init_fn")
}
KERNELS = {type(module_kernel) for module_kernel in (bias_act._forward_kernel, warp._forward_kernel)}
FREE = (
    "_unsafe_view",
    "alias",
    "as_strided",
    "detach",
    "device",
    "empty",
    "lift_fresh",
    "new_empty",
    "promote_types",
    "slice",
    "split",
)
FILLS = ("full_like", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like")


class Traffic(TorchDispatchMode):
    """Counts while it is entered."""

    def __init__(self):
        super().__init__()
        self.launches = []
        self.num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name
        if name in OPERATORS:
            with self:
                return OPERATORS[name](*args, **kwargs)
        result = func(*args, **kwargs)
        short = name.removeprefix("aten::")
        if not func.is_view and not short.startswith(FREE):
            read = [] if short in FILLS else tree_leaves((args, kwargs))
            self.add(name, [*read, *tree_leaves(result)])
        return result

    def add(self, name, values):
        self.launches.append(name)
        # What is passed twice, in place of something that is not needed, is the same object.
        tensors = {id(value): value for value in values if isinstance(value, Tensor)}
        self.num_bytes += sum(map(size_bytes, tensors.values()))


def size_bytes(x: Tensor) -> int:
    """What `x` holds in memory, without repeats."""
    sizes = [size for size, stride in zip(x.shape, x.stride(), strict=True) if stride]
    return torch.Size(sizes).numel() * x.element_size()


@contextmanager
def counted(monkeypatch) -> Iterator[Traffic]:
    """Count what runs inside, with fused ops, and leave their kernels out."""
    traffic = Traffic()
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "INTERPRETED", True)
        for kind in KERNELS:
            patch.setattr(
                kind, "run", lambda kernel, *args, **_: traffic.add(kernel.fn.__name__, tree_leaves(args))
            )
        with dispatch.use("fused"), traffic:
            yield traffic
