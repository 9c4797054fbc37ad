"""Condenses the scores of pairs to means over clips, and to the report that evaluate.json holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from lia_model.data.pair_list import PairList, Skipped
from lia_model.evaluation.metric_table import PIXEL_METRICS, PROTOCOL_METRICS
from lia_model.evaluation.scores import COPY_SOURCE, MODEL, EvaluatedModel, Instruments, Score
from lia_model.settings import EvaluateSettings
from preprocessing.faces.embedder import EMBEDDING_MODEL, LANDMARK_MODEL
from preprocessing.shards.manifest import Manifest

Summary = dict[str, dict[str, dict[str, dict[str, Any]]]]


def clip_means(scores: Sequence[Score], protocol: str, model: str, metric: str) -> dict[str, float]:
    """Return the mean of each driving clip over its pairs with a value."""
    values: dict[str, list[float]] = {}
    for score in scores:
        value = score.values.get(metric)
        if (score.pair.protocol, score.model) == (protocol, model) and value is not None:
            values.setdefault(score.driving.key, []).append(value)
    return {key: float(np.mean(each)) for key, each in values.items()}


def summarise(scores: Sequence[Score], num_resamples: int, seed: int) -> Summary:
    """Return, by model, protocol and metric: mean, 95 % interval `low` and `high`, and `num_clips`.

    The interval is a bootstrap over driving clips, None with fewer than two. Metrics without a value are left
    out.
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
    """Return for each clip the share of copying's L1 that the model saves; 0 if copying is perfect."""
    model = clip_means(scores, "reconstruction", MODEL, "l1")
    copied = clip_means(scores, "reconstruction", COPY_SOURCE, "l1")
    return {key: 1 - value / copied[key] if copied[key] else 0.0 for key, value in model.items()}


def bootstrap_interval(
    values: Float[np.ndarray, " N"], num_resamples: int, seed: int, coverage: float = 0.95
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean (Efron 1979), or None for fewer than two values.

    It assumes independent values; clips of one identity are correlated, so the true interval is wider.
    """
    if len(values) < 2:
        return None
    draws = np.random.default_rng(seed).integers(len(values), size=(num_resamples, len(values)))
    tail = (1 - coverage) / 2
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def make_report(
    scores: Sequence[Score],
    pairs: PairList,
    instruments: Instruments,
    evaluated: Sequence[EvaluatedModel],
    settings: EvaluateSettings,
    manifest: Manifest,
) -> dict[str, Any]:
    """Return the report: means by name for `dvc metrics`, everything else as lists of records."""
    summary = summarise(scores, settings.num_resamples, settings.seed)
    sets = [distance.results() for distance in instruments.sets]
    rows = clip_rows(scores)
    skipped = [*pairs.skipped, *instruments.skipped, *(each for _, missing in sets for each in missing)]
    if instruments.faces is not None:
        skipped += metrics_without_faces(summary, pairs)
    faces = [
        {"measures": ["akd", "motion"], "model": LANDMARK_MODEL},
        {"measures": ["aed", "csim"], "model": EMBEDDING_MODEL},
    ]
    return {
        "mean": flat_means(summary, [row["improvement"] for row in rows]),
        "num_clips": len(rows),
        "identity_disjoint": manifest.identity_disjoint,
        "identity_disjoint_reason": manifest.identity_disjoint_reason,
        "lpips_backbone": "alexnet",
        "num_unknown_identities": pairs.num_unknown_identities,
        "summary": [
            {"model": model, "protocol": protocol, "metric": metric, **entry}
            for model, protocols in summary.items()
            for protocol, metrics in protocols.items()
            for metric, entry in metrics.items()
        ],
        "set_distances": [record for records, _ in sets for record in records],
        "measured_by": [
            {"measures": ["lpips"], "model": "AlexNet, LPIPS 0.1"},
            *(faces if instruments.faces is not None else ()),
        ],
        "models": [
            {
                "name": one.name,
                "version": one.version,
                "weights_sha256": one.weights_sha256,
                "crop": None if one.animator is None else one.animator.crop.model_dump(),
            }
            for one in evaluated
        ],
        "skipped": [each.model_dump() for each in skipped],
        "clips": rows,
        "frames": {pair.driving: pair.frames for pair in pairs.pairs if pair.protocol == "reconstruction"},
    }


def metrics_without_faces(summary: Summary, pairs: PairList) -> list[Skipped]:
    """Return the metrics without a value because no face was found in a model's results."""
    protocols = dict.fromkeys(pair.protocol for pair in pairs.pairs)
    return [
        Skipped(what=metric, reason=f"no face was found in the results of {model} for the {protocol} pairs")
        for model, measured in summary.items()
        for protocol in protocols
        for metric in PROTOCOL_METRICS[protocol]
        if metric not in measured.get(protocol, {})
    ]


def flat_means(summary: Summary, improvement: Sequence[float]) -> dict[str, float]:
    """Return the model's means by metric, with the prefix `cross_identity_` for that protocol.

    The means of copying the source have the prefix `copy_source_`.
    """
    ours = summary[MODEL]
    copied = summary[COPY_SOURCE]["reconstruction"]
    named = {name: entry["mean"] for name, entry in ours["reconstruction"].items()}
    named |= {f"{COPY_SOURCE}_{name}": entry["mean"] for name, entry in copied.items()}
    named["improvement"] = float(np.mean(improvement))
    transfer = ours.get("cross_identity", {})
    return named | {f"cross_identity_{name}": entry["mean"] for name, entry in transfer.items()}


def clip_rows(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return a row for each reconstructed clip: the model's metrics beside those of copying the source."""
    saved = improvements(scores)
    rows: dict[str, dict[str, Any]] = {}
    for score in scores:
        if score.pair.protocol != "reconstruction" or score.model not in (MODEL, COPY_SOURCE):
            continue
        row = score.as_row()
        prefix = "" if score.model == MODEL else f"{COPY_SOURCE}_"
        names = PROTOCOL_METRICS["reconstruction"] if score.model == MODEL else PIXEL_METRICS
        head = {name: row[name] for name in ("clip", "url", "by_time", "num_frames")}
        rows.setdefault(score.driving.key, head).update({f"{prefix}{name}": row[name] for name in names})
    return [{**row, "improvement": saved[key]} for key, row in rows.items()]
