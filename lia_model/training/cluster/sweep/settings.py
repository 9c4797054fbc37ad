"""What a sweep varies and how it is judged, as its file says; imports neither Ray nor torch."""

from __future__ import annotations

import copy
import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from preprocessing.settings import Settings

Range = tuple[float, float]
VALIDATION = "validation/"
"""Beginning of the metrics of a validation."""


class Axis(Settings):
    """The values of one setting; exactly one of the three is given."""

    choice: tuple[Any, ...] | None = None
    """Values, each as likely."""
    uniform: Range | None = None
    """Least and most."""
    log_uniform: Range | None = None
    """Least and most, above 0; each factor between them is as likely."""

    @model_validator(mode="after")
    def _is_one(self) -> Axis:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"got {' and '.join(given) or 'nothing'}; one of choice, uniform and log_uniform is allowed: "
                "write one"
            )
        ends = self.uniform or self.log_uniform
        if ends is not None and not ends[0] < ends[1]:
            raise ValueError(f"got the range {list(ends)}; [least, most] is allowed: exchange the two")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"got log_uniform {list(self.log_uniform)}; it lies above 0: raise the first")
        if self.choice == ():
            raise ValueError("got no choice; at least one value is needed: list some")
        return self

    def extremes(self) -> tuple[Any, ...]:
        """Return values of which all are allowed only if all of the axis are."""
        return self.choice or self.uniform or self.log_uniform or ()

    def draw(self, position: float) -> Any:  # noqa: ANN401 - a value of any setting
        """Return the value at a position in [0, 1)."""
        if self.choice is not None:
            return self.choice[int(position * len(self.choice))]
        if self.uniform is not None:
            least, most = self.uniform
            return least + position * (most - least)
        assert self.log_uniform is not None
        least, most = self.log_uniform
        return math.exp(math.log(least) + position * math.log(most / least))


class SweepSettings(Settings):
    """One sweep."""

    metric: str
    """What ranks the trials: a loss, such as loss/l1, by its last value, or a result of the validation, such
    as validation/l1, by its best one, whose weights are proposed."""
    mode: Literal["min", "max"]
    """Whether the lowest or the highest value is the best."""
    num_trials: Annotated[int, Field(ge=1)]
    """Trainings that are started; a sweep goes on if it is raised."""
    num_parallel: Annotated[int, Field(ge=1)]
    """Trainings at a time."""
    grace_steps: Annotated[int, Field(ge=1)]
    """Steps that each trial may make before it can be stopped; by a validation metric it is judged at the
    next validation."""
    reduction_factor: Annotated[int, Field(ge=2)]
    """Of so many trials one goes on at each halving."""
    seed: Annotated[int, Field(ge=0)]
    """Determines the values of the trials."""
    space: Annotated[dict[str, Axis], Field(min_length=1)]
    """Values by the dotted key of a setting, such as train.optimizer.generator_lr."""

    @property
    def is_by_validation(self) -> bool:
        """Return whether validations rank the trials."""
        return self.metric.startswith(VALIDATION)

    @property
    def worst(self) -> float:
        """Return a score that is worse than any other."""
        return math.inf if self.mode == "min" else -math.inf

    def comparable(self, score: float) -> float:
        """Return a score, or the worst one in place of one that is not a number."""
        return self.worst if math.isnan(score) else score

    def values_of(self, number: int) -> dict[str, Any]:
        """Return the values of a trial by dotted key: a function of the seed and its number alone."""
        positions = np.random.default_rng((self.seed, number)).random(len(self.space))
        return {
            key: axis.draw(float(place))
            for (key, axis), place in zip(self.space.items(), positions, strict=True)
        }


def with_values(settings: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a training with the values at dotted keys replaced, or added where there are none.

    Args:
        settings: the section `train`, as JSON values.
        values: by dotted key, with the section's name.
    """
    changed = copy.deepcopy(settings)
    for key, value in values.items():
        _, *sections, last = key.split(".")
        section = changed
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return changed
