"""Whether a champion is still what it was: its frozen list, new held-out data, and how new clips differ.

Pure: the deployment `evaluate-champion` measures and acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lia_model.evaluation.champion.drift import Shift
from lia_model.evaluation.paired_comparison import Comparison

SAME = 1e-3
"""Largest relative difference between two measurements of one model on one list, on different machines."""


@dataclass(frozen=True)
class Limits:
    """From where on a champion's result is a problem."""

    max_loss: float
    """How much smaller its advantage over copying the source in L1, as a share of that error, may be on the
    present held-out clips than on its frozen list."""
    max_shift: float
    """Largest distance between new clips and those trained on, see `drift`."""


@dataclass(frozen=True)
class ChampionCheck:
    """What was measured of a champion."""

    uri: str
    frozen: Mapping[str, Comparison] | None
    """Against copying the source, by metric, on the list that the gate judged it on; None if these shards no
    longer hold its frames."""
    frozen_missing: str | None
    """Why they are None."""
    at_release: float | None
    """Mean L1 on that list when it was released."""
    present: Mapping[str, Comparison] | None
    """The same on the present held-out clips; None if there are none."""
    shifts: Sequence[Shift]
    """Properties of new clips beside those of the clips it was trained on; empty without new clips."""
    num_people: int
    """People in the clips it was trained on."""
    num_new_people: int
    """People in new clips."""
    forgotten: str | None = None
    """In words, on which videos taken down it was trained; None if on none."""
    golden: str | None = None
    """Why its result for its golden pair is not that of its release; None if it is, or if it has no pair."""

    def problems(self, limits: Limits) -> list[str]:
        """Return what an operator should look at, a sentence each; empty if all is well."""
        return [
            *self._of_sources(),
            *([] if self.golden is None else [self.golden]),
            *self._of_frozen(),
            *self._of_present(limits),
            *self._of_shifts(limits),
        ]

    def _of_sources(self) -> list[str]:
        if self.forgotten is None:
            return []
        return [f"it was {self.forgotten}: train again on the present shards, and release that model"]

    def _of_frozen(self) -> list[str]:
        if self.frozen is None:
            return [f"its frozen list was not measured: {self.frozen_missing}"]
        now = self.frozen["l1"].mean
        if self.at_release is None or abs(now - self.at_release) <= SAME * self.at_release:
            return []
        return [
            f"L1 on its frozen list is {now:.6f} and was {self.at_release:.6f} at its release, though model "
            "and list are the same: the code or the machine computes differently"
        ]

    def _of_present(self, limits: Limits) -> list[str]:
        if self.present is None:
            return []
        l1 = self.present["l1"]
        if not l1.is_better:
            return [f"not better than doing nothing on the present held-out clips: {l1}"]
        if self.frozen is None or (lost := _gain(self.frozen["l1"]) - _gain(l1)) <= limits.max_loss:
            return []
        return [
            f"its L1 is {_gain(l1):.0%} lower than that of copying the source on the present held-out clips "
            f"and {_gain(self.frozen['l1']):.0%} on its frozen list: a loss of {lost:.2f}, allowed is "
            f"{limits.max_loss:g}"
        ]

    def _of_shifts(self, limits: Limits) -> list[str]:
        return [
            f"new clips differ in {each.name}: distance {each.distance:.2f}, allowed {limits.max_shift:g}; "
            f"median {each.new_median:.4g} of {each.num_new} clips against {each.median:.4g} of "
            f"{each.num_clips} trained on"
            for each in self.shifts
            if each.distance is not None and each.distance > limits.max_shift
        ]

    def document(self, limits: Limits) -> dict[str, Any]:
        """Return all of it for a JSON file."""
        return asdict(self) | {"limits": asdict(limits), "problems": self.problems(limits)}

    def report(self, limits: Limits) -> str:
        """Return a page in Markdown."""
        problems = self.problems(limits)
        lines = [f"# {self.uri}", "", *(f"- **{one}**" for one in problems or ["no problem"]), ""]
        for title, measured in (("its frozen list", self.frozen), ("present held-out clips", self.present)):
            if measured is not None:
                lines += [f"## On {title}", "", *(f"- {each}" for each in measured.values()), ""]
        lines += ["## New clips beside those trained on", ""]
        if not self.shifts:
            return "\n".join([*lines, "There are no clips that it was not trained on."]) + "\n"
        lines += [f"People: {self.num_new_people} new, {self.num_people} trained on.", ""]
        lines += ["| property | distance | median | new median | clips | new |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {each.name} | {_text(each.distance)} | {_text(each.median)} | {_text(each.new_median)} "
            f"| {each.num_clips} | {each.num_new} |"
            for each in self.shifts
        ]
        return "\n".join(lines) + "\n"


def _gain(l1: Comparison) -> float:
    return 1 - l1.mean / l1.other_mean


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
