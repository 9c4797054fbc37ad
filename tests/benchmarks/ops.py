"""Each op alone, against its published form and against a copy of the bytes it must read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from lia_model.ops.bias_act import bias_act
from lia_model.ops.upfirdn2d import blur, upsample
from lia_model.ops.warp import flow_warp, identity_grid
from tests.benchmarks import published_formulation as published
from tests.benchmarks.timing import Row, by_turns, op_timer

CHANNELS, SIDE_PX = 64, 256


def measure(batch_size: int, num_rounds: int, dtype: torch.dtype, device: torch.device) -> Iterator[Row]:
    """Time the memory-bound ops on the largest feature map of the 256 px network."""
    maps = partial(_maps, batch_size, device=device, dtype=dtype)
    x, feature = maps(CHANNELS), maps(CHANNELS)[:1].expand(batch_size, -1, -1, -1)
    bias = torch.randn(CHANNELS, device=device, dtype=dtype)
    raw, grid = maps(3).float() * 0.1, identity_grid(SIDE_PX).to(device)
    small = maps(3)
    wide = CHANNELS * SIDE_PX**2 * batch_size
    cases: dict[str, tuple[Callable[[], object], Callable[[], object], int]] = {
        "bias_act": (lambda: bias_act(x, bias), lambda: published.activate(x, bias), 2 * wide),
        "blur": (lambda: blur(x, (2, 2)), lambda: published.filtered(x, 2, 2), 2 * wide),
        "blur, every second": (
            lambda: blur(x, (1, 1), stride=2),
            lambda: published.filtered(x, 1, 1)[:, :, ::2, ::2],
            wide + wide // 4,
        ),
        "upsample RGB": (
            lambda: upsample(small),
            lambda: published.filtered(small, 2, 1, gain=4.0, up=2),
            5 * small.numel(),
        ),
        "flow_warp": (
            lambda: flow_warp(raw, feature, x, grid),
            lambda: _warp_and_blend(raw.to(dtype), feature, x),
            # One source for the batch, one map in, two out.
            3 * wide + wide // batch_size,
        ),
    }
    for name, (ours, plain, num_moved) in cases.items():
        copied = torch.empty(num_moved // 2, device=device, dtype=dtype)
        target = torch.empty_like(copied)
        candidates = {"ours": ours, "published": plain, "copy": partial(target.copy_, copied)}
        with torch.inference_mode():
            seconds = by_turns(candidates, num_rounds, device, op_timer(device))
        yield Row("op", f"{name}, {CHANNELS}x{SIDE_PX}x{SIDE_PX}, batch {batch_size}", seconds)


def _maps(batch_size: int, channels: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    x = torch.randn(batch_size, channels, SIDE_PX, SIDE_PX, device=device, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last)


def _warp_and_blend(raw: Tensor, feature: Tensor, x: Tensor) -> Tensor:
    shown, mask = published.warped(raw, feature)
    return shown + x * (1 - mask)
