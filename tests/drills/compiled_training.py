"""Trains with and without torch.compile and prints how far apart the results are; run by a drill.

A process of its own: the shape checks of the tests cannot be compiled. The arguments are a folder with
`train.json` and `shards`, and float32 or float64.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from lia_model.data.sharded_clips import ShardedClips
from lia_model.settings import TrainSettings
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.pairs.loader import PairLoader
from lia_model.training.state import load_state, new_state, save_state


class Float64Loader(PairLoader):
    def images(self, frames, numbers):
        source, driving = super().images(frames, numbers)
        return source.double(), driving.double()


def start(folder, settings, dtype):
    state = new_state(settings, ShardedClips(folder / "shards", "train").size_px, torch.device("cpu"))
    for module in (state.generator, state.discriminator, state.average):
        module.to(dtype)
    return state


def trained(folder, settings, dtype, state=None):
    state = state or start(folder, settings, dtype)
    loader = build_loader(ShardedClips(folder / "shards", "train"), settings)
    if dtype == torch.float64:
        loader.__class__ = Float64Loader
    run(state, loader, settings, Hooks())
    return state


def weights(state):
    modules = (state.generator, state.discriminator, state.average)
    return torch.cat([p.detach().flatten() for module in modules for p in module.parameters()]).numpy()


def main(folder, dtype):
    settings = TrainSettings.model_validate_json((folder / "train.json").read_text())
    compiled = settings.model_copy(update={"compile": True})
    begun = weights(start(folder, settings, dtype))
    plain = weights(trained(folder, settings, dtype))
    whole = weights(trained(folder, compiled, dtype))
    half = trained(folder, compiled.model_copy(update={"num_steps": settings.num_steps // 2}), dtype)
    save_state(half, folder / "half", {})
    resumed = start(folder, settings, dtype)
    load_state(resumed, folder / "half")
    resumed = weights(trained(folder, compiled, dtype, resumed))
    found = {
        "apart": float(np.abs(whole - plain).max()),
        "share": float(np.linalg.norm(whole - plain) / np.linalg.norm(plain - begun)),
        "moved": float(np.linalg.norm(plain - begun)),
        "is_compiled_otherwise": not np.array_equal(whole, plain),
        "is_resumed_exactly": np.array_equal(whole, resumed),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), getattr(torch, sys.argv[2]))
