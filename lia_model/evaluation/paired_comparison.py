"""Compares two models, or a model with copying the source, on the same held-out clips.

The interval is a bootstrap over people instead of clips (Davison and Hinkley 1997, section 3.8): clips of one
person resemble each other, so they count as one observation.
Axes: P people, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lia_model.evaluation.metric_table import METRICS

COVERAGE = 0.95
MIN_PEOPLE = 5
"""Fewer give no interval: four all agree by chance in one case of 16, five in one of 32."""


@dataclass(frozen=True)
class Comparison:
    """One metric of a model and of what it is compared with, over the clips where both have a value."""

    metric: str
    against: str
    """What the model is compared with, as a noun phrase."""
    mean: float
    """The model's mean over the clips."""
    other_mean: float
    interval: tuple[float, float] | None
    """Of the difference of the means, the model's minus the other's, at 95 %; None for too few people."""
    num_clips: int
    num_people: int

    @property
    def is_better(self) -> bool:
        """Return whether the model's mean is strictly better."""
        return METRICS[self.metric].is_better(self.mean, self.other_mean)

    @property
    def is_certainly_better(self) -> bool:
        """Return whether the interval excludes 0 in the model's favour."""
        return self.interval is not None and all(
            METRICS[self.metric].is_better(end, 0) for end in self.interval
        )

    @property
    def is_certainly_worse(self) -> bool:
        """Return whether the interval excludes 0 to the model's disadvantage."""
        return self.interval is not None and all(
            METRICS[self.metric].is_better(0, end) for end in self.interval
        )

    def __str__(self) -> str:
        metric = METRICS[self.metric]
        values = f"{metric.text(self.mean)} against {metric.text(self.other_mean)}"
        means = f"{metric.label} {values} of {self.against}"
        people = "person" if self.num_people == 1 else "people"
        clips = "clip" if self.num_clips == 1 else "clips"
        counted = f"{self.num_clips} {clips} of {self.num_people} {people}"
        if self.interval is None:
            return f"{means} ({counted}, too few for an interval)"
        low, high = (format(end, "+" + metric.spec.lstrip("+")) for end in self.interval)
        return f"{means} (difference {low} to {high} at 95 %, {counted})"


def compare(
    metric: str,
    against: str,
    values: Mapping[str, float],
    others: Mapping[str, float],
    people: Mapping[str, str],
    resampling: tuple[int, int],
) -> Comparison | None:
    """Compare two sets of values by clip; None if no clip has both.

    Args:
        metric: name in `METRICS`.
        against: what the model is compared with.
        values: the model's values by clip.
        others: the values it is compared with.
        people: who is shown, by clip.
        resampling: number of bootstrap samples, and their seed.
    """
    # Sorted, so that the result does not depend on the order in which clips were measured.
    clips = sorted(values.keys() & others.keys())
    if not clips:
        return None
    shown = sorted({people[clip] for clip in clips})
    sums, counts = np.zeros(len(shown)), np.zeros(len(shown))
    for clip in clips:
        place = shown.index(people[clip])
        sums[place] += values[clip] - others[clip]
        counts[place] += 1
    return Comparison(
        metric,
        against,
        mean=float(np.mean([values[clip] for clip in clips])),
        other_mean=float(np.mean([others[clip] for clip in clips])),
        interval=_interval(sums, counts, *resampling),
        num_clips=len(clips),
        num_people=len(shown),
    )


def _interval(
    sums: Float[np.ndarray, " P"], counts: Float[np.ndarray, " P"], num_resamples: int, seed: int
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean difference over clips, resampled by person."""
    if len(sums) < MIN_PEOPLE:
        return None
    draws = np.random.default_rng(seed).integers(len(sums), size=(num_resamples, len(sums)))
    means: Float[np.ndarray, " R"] = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
