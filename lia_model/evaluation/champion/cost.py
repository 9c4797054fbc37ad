"""Time and memory of a challenger beside those of the champion, for the gate. Pure: `cost_probe` measures."""

from __future__ import annotations

from dataclasses import dataclass

from lia_model.settings import CostSettings


@dataclass(frozen=True)
class Cost:
    """What animating takes."""

    latency_ms: float
    """Median milliseconds a frame."""
    peak_bytes: int
    """Most memory at a time: of the GPU where it computes there, else of the whole process."""


@dataclass(frozen=True)
class CostComparison:
    """The costs of a challenger and the champion, measured in turns."""

    challenger: Cost
    champion: Cost | None
    """None if no version is champion."""
    limits: CostSettings
    where: str
    """Device and precision."""

    def objections(self) -> list[str]:
        """Return what is wrong with the challenger; empty if nothing is."""
        if self.champion is None:
            return []
        found = []
        if self.challenger.latency_ms > self.limits.max_latency_ratio * self.champion.latency_ms:
            found.append(
                f"slower than the champion: {self._latency()}, allowed is {self.limits.max_latency_ratio:g} "
                "times its time (release.cost.max_latency_ratio)"
            )
        if self.challenger.peak_bytes > self.limits.max_memory_ratio * self.champion.peak_bytes:
            found.append(
                f"takes more memory than the champion: {self._memory()}, allowed is "
                f"{self.limits.max_memory_ratio:g} times its memory (release.cost.max_memory_ratio)"
            )
        return found

    def details(self) -> list[str]:
        """Return what was measured, a line each."""
        return [f"{self._latency()}, {self.where}", f"{self._memory()}, {self.where}"]

    def tags(self) -> dict[str, str]:
        """Return the tags of the challenger's version."""
        tags = {
            "lia.gate_latency_ms": f"{self.challenger.latency_ms:.3f}",
            "lia.gate_peak_bytes": str(self.challenger.peak_bytes),
            "lia.gate_measured_on": self.where,
        }
        if self.champion is not None:
            tags |= {
                "lia.gate_champion_latency_ms": f"{self.champion.latency_ms:.3f}",
                "lia.gate_champion_peak_bytes": str(self.champion.peak_bytes),
            }
        return tags

    def _latency(self) -> str:
        text = f"latency {self.challenger.latency_ms:.3g} ms a frame"
        if self.champion is None:
            return text
        ratio = self.challenger.latency_ms / self.champion.latency_ms
        return f"{text}, {ratio:.2f} times the champion's {self.champion.latency_ms:.3g} ms"

    def _memory(self) -> str:
        text = f"peak memory {self.challenger.peak_bytes / 1e9:.3g} GB"
        if self.champion is None:
            return text
        ratio = self.challenger.peak_bytes / self.champion.peak_bytes
        return f"{text}, {ratio:.2f} times the champion's {self.champion.peak_bytes / 1e9:.3g} GB"
