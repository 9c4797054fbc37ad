"""The metrics and labels that an expression of Prometheus names; its syntax is left to promtool."""

import re
from dataclasses import dataclass

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\b(?:\s*\{([^}]*)\})?(?!\s*\()")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_DURATION = re.compile(r"\[[^]]*\]")
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"}
_OF_PROMETHEUS = {"job", "instance"}
"""Labels that every scraped series gets."""


@dataclass(frozen=True)
class Reading:
    """What an expression reads."""

    labels_by_metric: dict[str, set[str]]
    """Labels by which series of each metric are selected."""
    grouping: set[str]
    """Labels that sums and matches keep."""

    def missing_in(self, exposed: dict[str, set[str]]) -> set[str]:
        """Return the metrics and labels that `exposed` (labels by metric) lacks."""
        missing = {metric for metric in self.labels_by_metric if metric not in exposed}
        there = set().union(*(exposed.get(metric, set()) for metric in self.labels_by_metric))
        for metric, labels in self.labels_by_metric.items():
            known = exposed.get(metric, set()) | _OF_PROMETHEUS
            missing |= {f"{metric}{{{label}}}" for label in labels - known if metric not in missing}
        # Without a metric its labels are unknown too, which would say the same twice.
        return missing or {f"by ({label})" for label in self.grouping - there - _OF_PROMETHEUS}


def read(expression):
    text = _DURATION.sub("", _STRING.sub('""', expression))
    grouping = {label.strip() for found in _GROUPING.findall(text) for label in found.split(",") if label}
    found = {}
    for metric, selectors in _SELECTOR.findall(_GROUPING.sub("", text)):
        if metric not in _WORDS:
            found.setdefault(metric, set()).update(_MATCHER.findall(selectors))
    return Reading(found, {label for label in grouping if label})
