"""The champion's gate: decides whether a challenger becomes champion.

A champion beats copying the source frame in L1 and LPIPS. It replaces another champion only if a paired
bootstrap interval over the people of the held-out clips shows that it is better in the chosen metric, and
shows it to be worse in none of L1, LPIPS, AKD and MKR, and if it keeps within the limits of time and memory.
MKR is among them because AKD ignores frames without a face. The decision is pure: `gate_evidence` and
`cost_probe` measure, `pipelines.stages.release` acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lia_model.data.pair_list import Skipped
from lia_model.evaluation.champion.cost import CostComparison
from lia_model.evaluation.metric_table import METRICS
from lia_model.evaluation.paired_comparison import MIN_PEOPLE, Comparison
from lia_model.registry.aliases import REPLACED_TAG

BETTER_THAN_COPYING = ("l1", "lpips")
"""Metrics in which a champion's mean beats that of copying the source."""
NOT_WORSE_THAN_CHAMPION = ("l1", "lpips", "akd", "mkr")
"""Metrics in which a challenger must not lose to the champion."""

NOT_DISJOINT = (
    "the held-out list is split by time and so not identity-disjoint; hold out whole identities, or set "
    "release.allow_by_time for a demo"
)


@dataclass(frozen=True)
class Evidence:
    """What was measured of a challenger, on the same pairs for every model."""

    copying: Mapping[str, Comparison]
    """Against copying the source, by metric."""
    champion_version: str | None
    """None if no version is champion."""
    champion: Mapping[str, Comparison] = field(default_factory=dict)
    """Against the champion, by metric."""
    other_people: Mapping[str, Comparison] = field(default_factory=dict)
    """Against copying, on clips of people who were not trained on; only where clips split by time decide."""
    is_by_time: bool = False
    """Whether the clips that decide are split by time."""
    people_unknown: str | None = None
    """Why it is not known whether train and test have people in common; None if they have none."""
    not_compared: Sequence[Skipped] = ()
    """Metrics without a value."""
    list_sha256: str = ""
    """Hash of the list of pairs."""
    costs: CostComparison | None = None
    """Time and memory; None if they were not measured."""


@dataclass(frozen=True)
class Verdict:
    """The gate's decision."""

    is_passed: bool
    reason: str
    """One line that begins with `promoted to champion` or `not promoted`."""
    details: tuple[str, ...] = ()
    """What was compared, a line each."""
    measured: Mapping[str, str] = field(default_factory=dict)
    """Tags with what was compared; empty if nothing had to be measured."""

    @property
    def text(self) -> str:
        """Return the reason and the details for a terminal or a page."""
        return "\n".join((self.reason, *(f"  {line}" for line in self.details)))

    @property
    def tags(self) -> dict[str, str]:
        """Tags that record the decision on the challenger's version."""
        details = {"lia.gate_details": "\n".join(self.details)} if self.details else {}
        return {
            "lia.gate": "passed" if self.is_passed else "refused",
            "lia.gate_reason": self.reason,
            **details,
            **self.measured,
        }


def refusal(reason: str) -> Verdict:
    """Return the verdict on a challenger that cannot be compared."""
    return Verdict(False, f"not promoted: {reason}")


def check_list(*, is_identity_disjoint: bool | None, allow_by_time: bool) -> Verdict | None:
    """Return a refusal if the held-out clips are no proof of a better model, else None.

    Args:
        is_identity_disjoint: whether no held-out clip shows a person of the training clips; None, which is
            not refused, if that is not known.
        allow_by_time: accept held-out clips that were split by time instead.
    """
    return None if is_identity_disjoint is not False or allow_by_time else refusal(NOT_DISJOINT)


def check_sources(forgotten: str | None) -> Verdict | None:
    """Return a refusal if the challenger was trained on videos that were taken down, else None.

    Args:
        forgotten: in words which ones; None for none.
    """
    if forgotten is None:
        return None
    return refusal(f"it was {forgotten}: train again on the present shards, which no longer hold it")


def decide(evidence: Evidence, metric: str) -> Verdict:
    """Promote the challenger, or say why not.

    Args:
        evidence: what was measured.
        metric: in which a challenger has to beat the champion.
    """
    costs = [] if evidence.costs is None else evidence.costs.objections()
    objections = [*_against_copying(evidence), *_against_champion(evidence, metric), *costs]
    if objections:
        reason = f"not promoted: {'; '.join(objections)}"
    elif evidence.champion_version is None:
        better = _labels(name for name in BETTER_THAN_COPYING if name in evidence.copying)
        reason = (
            f"promoted to champion: better than copying the source in {better}, and no version was champion"
        )
        reason += f" before{_reservation(evidence)}"
    else:
        reason = f"promoted to champion: {evidence.champion[metric]}{_reservation(evidence)}"
    is_passed = not objections
    return Verdict(is_passed, reason, tuple(_details(evidence)), _tags(evidence, is_passed))


def _against_copying(evidence: Evidence) -> list[str]:
    """Return what is wrong with the challenger beside copying the source."""
    if "l1" not in evidence.copying:
        return ["no held-out clip was measured beside copying the source"]
    return [
        f"not better than doing nothing: {evidence.copying[name]}"
        for name in BETTER_THAN_COPYING
        if name in evidence.copying and not evidence.copying[name].is_better
    ]


def _against_champion(evidence: Evidence, metric: str) -> list[str]:
    """Return what is wrong with the challenger beside the champion."""
    if evidence.champion_version is None:
        return []
    decisive = evidence.champion.get(metric)
    label = METRICS[metric].label
    champion = f"champion version {evidence.champion_version}"
    if decisive is None:
        return [f"{label}, which release.metric names, was not compared with {champion}"]
    objections = []
    if decisive.interval is None:
        objections.append(
            f"too few people are held out to compare with {champion}: {decisive}; {MIN_PEOPLE} are needed"
        )
    elif not decisive.is_certainly_better:
        objections.append(f"not certainly better than {champion}: {decisive}")
    worse = [
        evidence.champion[name]
        for name in NOT_WORSE_THAN_CHAMPION
        if name in evidence.champion and evidence.champion[name].is_certainly_worse
    ]
    return objections + [f"worse than {champion}: {each}" for each in worse if each is not decisive]


def _details(evidence: Evidence) -> list[str]:
    lines = [str(each) for each in (*evidence.copying.values(), *evidence.champion.values())]
    if evidence.is_by_time:
        lines.append(
            "judged by the clips that are split by time alone; they show people of the training clips, so "
            "this says nothing about other people"
        )
    elif evidence.people_unknown is not None:
        lines.append(
            f"it is not known whether the held-out clips show other people: {evidence.people_unknown}"
        )
    for each in evidence.other_people.values():
        judged = "better" if each.is_better else "not better"
        lines.append(f"for information, on other people: {judged} than doing nothing, {each}")
    if evidence.costs is not None:
        lines += evidence.costs.details()
    return lines + [f"not compared: {METRICS[one.what].label}: {one.reason}" for one in evidence.not_compared]


def _labels(names: Iterable[str]) -> str:
    return " and ".join(METRICS[name].label for name in names)


def _reservation(evidence: Evidence) -> str:
    """Return what the word champion must not hide, to be said with it; empty for held-out people."""
    if not evidence.is_by_time:
        return "" if evidence.people_unknown is None else "; it may have been trained on the same people"
    worse = _labels(name for name, each in evidence.other_people.items() if not each.is_better)
    addition = f"; on other people it is worse than doing nothing in {worse}" if worse else ""
    return f"; judged only on clips that are split by time{addition}"


def _clips(evidence: Evidence) -> str:
    if evidence.is_by_time:
        return "split by time"
    unknown = evidence.people_unknown
    return "held-out people" if unknown is None else f"held out; people not known to be others: {unknown}"


def _tags(evidence: Evidence, is_passed: bool) -> dict[str, str]:
    tags = {
        "lia.gate_list": evidence.list_sha256,
        "lia.gate_clips": _clips(evidence),
    }
    for name, each in evidence.copying.items():
        tags |= {
            f"lia.gate_{name}": f"{each.mean:.6f}",
            f"lia.gate_copy_source_{name}": f"{each.other_mean:.6f}",
        }
    for name, each in evidence.champion.items():
        tags |= {
            f"lia.gate_{name}": f"{each.mean:.6f}",
            f"lia.gate_champion_{name}": f"{each.other_mean:.6f}",
        }
    if evidence.costs is not None:
        tags |= evidence.costs.tags()
    everyone = (*evidence.copying.values(), *evidence.other_people.values())
    worse = [str(each) for each in everyone if each.metric in BETTER_THAN_COPYING and not each.is_better]
    if worse:
        tags["lia.worse_than_copying"] = "; ".join(worse)
    if evidence.not_compared:
        tags["lia.gate_not_compared"] = ", ".join(one.what for one in evidence.not_compared)
    if is_passed and evidence.champion_version is not None:
        tags[REPLACED_TAG] = evidence.champion_version
    return tags
