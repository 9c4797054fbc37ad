"""What CUDA graphs do, on a CPU: computing again with the same memory, into the same result."""

from contextlib import nullcontext

import torch

from lia_model import animator
from lia_model.device import compilation
from lia_model.device.cuda_graph import CudaGraphs


def play_back(monkeypatch) -> "PlayedBack":
    """Let animators on the CPU record, and return what captures for them."""
    graphs = PlayedBack()
    monkeypatch.setattr(compilation, "CudaGraphs", lambda device: graphs)
    monkeypatch.setattr(animator, "require_compilation", lambda kind, device: None)
    return graphs


class PlayedBack(CudaGraphs):
    """Counts what it captures; a replay is checked to come alone."""

    def __init__(self, device: torch.device = torch.device("cpu")) -> None:
        super().__init__(device)
        self.num_captured = 0
        self.num_running = 0

    def capture(self, function):
        self.num_captured += 1
        result = function()

        def replay() -> None:
            self.num_running += 1
            assert self.num_running == 1, "two graphs run at the same time on the same memory"
            result.copy_(function())
            self.num_running -= 1

        return replay, result

    def turn(self):
        return nullcontext()
