"""The champion's gate: decides whether a challenger replaces the champion.

Both models are measured on the same frozen list of held-out clips; the better mean L1 wins. The decision is
pure: `pipelines.stages.release` measures, and acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lia_model.evaluation.metric_table import METRICS
from lia_model.registry.aliases import REPLACED_TAG

NOT_DISJOINT = (
    "not promoted: the held-out list is split by time and so not identity-disjoint; "
    "hold out whole identities, or set release.allow_by_time for a demo"
)


@dataclass(frozen=True)
class Verdict:
    """The gate's decision."""

    is_passed: bool
    reason: str
    """One line that begins with `promoted` or `not promoted`."""
    measured: Mapping[str, str] = field(default_factory=dict)
    """Tags with what was compared; empty if the models did not have to be measured."""

    @property
    def tags(self) -> dict[str, str]:
        """Tags that record the decision on the challenger's version."""
        return {
            "lia.gate": "passed" if self.is_passed else "refused",
            "lia.gate_reason": self.reason,
            **self.measured,
        }


UNOPPOSED = Verdict(True, "promoted to champion: no version was champion before")
"""The verdict on a challenger without a champion."""


def check_list(*, is_identity_disjoint: bool, allow_by_time: bool) -> Verdict | None:
    """Return a refusal if the held-out clips are no proof of a better model, else None.

    Args:
        is_identity_disjoint: whether no held-out clip shows an identity of the training clips.
        allow_by_time: accept held-out clips that were split by time instead.
    """
    return None if is_identity_disjoint or allow_by_time else Verdict(False, NOT_DISJOINT)


def compare(challenger_l1: float, champion_l1: float, *, champion_version: str, list_sha256: str) -> Verdict:
    """Promote the challenger if its mean L1 is strictly better than the champion's.

    Args:
        challenger_l1: mean L1 over the held-out clips.
        champion_l1: the same for the champion, on the same clips.
        champion_version: version that a rollback returns to.
        list_sha256: hash of the list of held-out clips.
    """
    measured = {
        "lia.gate_list": list_sha256,
        "lia.gate_l1": f"{challenger_l1:.6f}",
        "lia.gate_champion_l1": f"{champion_l1:.6f}",
    }
    compared = f"mean L1 {challenger_l1:.4f} against {champion_l1:.4f} of champion version {champion_version}"
    if METRICS["l1"].is_better(challenger_l1, champion_l1):
        return Verdict(True, f"promoted to champion: {compared}", measured | {REPLACED_TAG: champion_version})
    return Verdict(False, f"not promoted: {compared}", measured)
