"""Scores of pairs condensed to means over clips with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lia_model.evaluation.metric_table import PROTOCOL_METRICS
from lia_model.evaluation.metrics import bootstrap_interval
from lia_model.evaluation.scores import COPY_SOURCE, MODEL, Score

Summary = dict[str, dict[str, dict[str, dict[str, Any]]]]


def clip_means(scores: Sequence[Score], protocol: str, model: str, metric: str) -> dict[str, float]:
    """Return one value for each driving clip: the mean over its pairs that have one."""
    values: dict[str, list[float]] = {}
    for score in scores:
        value = score.values.get(metric)
        if (score.pair.protocol, score.model) == (protocol, model) and value is not None:
            values.setdefault(score.driving.key, []).append(value)
    return {key: float(np.mean(each)) for key, each in values.items()}


def summarise(scores: Sequence[Score], num_resamples: int, seed: int) -> Summary:
    """Return, by model, protocol and metric: mean, 95 % interval `low` and `high`, and `num_clips`.

    The interval is a bootstrap over driving clips, null with fewer than two. A metric that no clip has is
    left out.
    """
    models = dict.fromkeys(score.model for score in scores)
    summary: Summary = {}
    for model in models:
        summary[model] = {}
        for protocol, names in PROTOCOL_METRICS.items():
            for metric in names:
                values = np.array(list(clip_means(scores, protocol, model, metric).values()))
                if not len(values):
                    continue
                low, high = bootstrap_interval(values, num_resamples, seed) or (None, None)
                entry = {"mean": float(values.mean()), "low": low, "high": high, "num_clips": len(values)}
                summary[model].setdefault(protocol, {})[metric] = entry
    return summary


def improvements(scores: Sequence[Score]) -> dict[str, float]:
    """Return for each clip the share of copying's L1 that the model saves; 0 where copying is perfect."""
    model = clip_means(scores, "reconstruction", MODEL, "l1")
    copied = clip_means(scores, "reconstruction", COPY_SOURCE, "l1")
    return {key: 1 - value / copied[key] if copied[key] else 0.0 for key, value in model.items()}
