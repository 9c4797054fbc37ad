"""Stops all updates from the first loss or gradient on that is infinite or not a number.

The check stays on the device, like that of a gradient scaler: the host learns of it at the next report, and
until then no update changes a weight, a moment or a step count.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.profiler import record_function

from lia_model.training.data_parallel import of_all_ranks
from lia_model.training.stop import NonFiniteError

Finding = tuple[int, int, str, float]
"""Step, place within the step, name and value of something that is not finite; the smallest came first."""


def backpropagate(loss: Float[Tensor, ""], factor: float = 1.0) -> None:
    """Add the gradient of `factor` times `loss`, or NaN if `loss` is not finite.

    Some losses are infinite and have finite gradients.
    """
    with record_function("backward"):
        loss.backward(loss.detach() * 0 + factor)


class FiniteGate:
    """Lets updates pass until a loss or a gradient is not finite; then it stays closed."""

    def __init__(self) -> None:
        self._closed: Float[Tensor, ""] | None = None
        self._norms: dict[str, Float[Tensor, ""]] = {}
        self._history: list[tuple[int, dict[str, Float[Tensor, ""]]]] = []

    def update(self, name: str, optimizer: Optimizer, max_norm: float | None) -> None:
        """Update the weights of `optimizer` by their gradients, unless the gate is closed.

        A gradient that is not finite closes the gate of every rank, since all ranks have the mean of theirs.

        Args:
            name: of the network, for the report.
            optimizer: its gradients come from `backpropagate`.
            max_norm: gradients are clipped to this length; None leaves them.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        self._norms[name] = norm
        if max_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        with record_function("optimizer"):
            self._step(optimizer, norm)

    def _step(self, optimizer: Optimizer, norm: Float[Tensor, ""]) -> None:
        # 0 times infinity is NaN; `isfinite` takes four launches.
        is_bad = (norm * 0 != 0).float()
        self._closed = is_bad if self._closed is None else torch.maximum(self._closed, is_bad)
        if optimizer.param_groups[0]["fused"]:
            optimizer.found_inf = self._closed  # pyright: ignore[reportAttributeAccessIssue]
            optimizer.step()
        elif not self._closed.item():
            optimizer.step()

    def norms(self) -> dict[str, Float[Tensor, ""]]:
        """Return the gradient norms of the updates since the last `record`, before they were clipped."""
        return {f"gradient_norm/{name}": norm for name, norm in self._norms.items()}

    def record(self, step: int, losses: dict[str, Float[Tensor, ""]]) -> None:
        """Keep the losses and gradient norms of update `step` until the next `check`."""
        norms = {f"gradient norm of the {name}": norm for name, norm in self._norms.items()}
        self._history.append((step, losses | norms))
        self._norms = {}

    def check(self) -> None:
        """Wait for the device and forget what was recorded; every rank calls it at the same steps.

        Raises:
            NonFiniteError: the gate is closed.
        """
        history, self._history = self._history, []
        if self._closed is None or not self._closed.item():
            return
        # A loss may be finite on one rank and infinite on another.
        step, _, name, value = min(finding for of_rank in of_all_ranks(_find(history)) for finding in of_rank)
        raise NonFiniteError(
            f"{name} was {value} at step {step}; it has to be finite, so no weight has changed since then "
            "and the checkpoint before it stands: lower train.optimizer's learning rates, or set "
            "train.optimizer.max_gradient_norm"
        )


def _find(history: list[tuple[int, dict[str, Tensor]]]) -> list[Finding]:
    """Return what is not finite in the first step that has such a value."""
    for step, values in history:
        found = [
            (step, place, name, value)
            for place, (name, value) in enumerate((name, value.item()) for name, value in values.items())
            if not math.isfinite(value)
        ]
        if found:
            return found
    return []
