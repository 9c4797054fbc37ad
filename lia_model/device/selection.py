"""Which processor computes."""

from __future__ import annotations

import torch


def resolve_device(device: str) -> torch.device:
    """Return the torch device; `auto` becomes CUDA if there is a GPU, else the CPU.

    Raises:
        ValueError: torch knows no such device, or this machine has no such GPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"got device {device!r}; cpu, cuda, cuda:N or auto is allowed; choose one") from None
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= num_gpus:
        raise ValueError(
            f"got device {device}, but torch {torch.__version__} finds {num_gpus} CUDA GPUs on this machine; "
            "choose cpu or auto, or install the driver and torch's CUDA build"
        )
    return found
