"""What a sweep varies and how it is judged, as its file says; imports neither Ray nor torch."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from preprocessing.settings import Settings

Range = tuple[float, float]


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


class SweepSettings(Settings):
    """One sweep."""

    metric: str
    """Logged metric that ranks the trials, such as loss/l1."""
    mode: Literal["min", "max"]
    """Whether the lowest or the highest value is the best."""
    num_trials: Annotated[int, Field(ge=1)]
    """Trainings that are started."""
    num_parallel: Annotated[int, Field(ge=1)]
    """Trainings at a time."""
    grace_steps: Annotated[int, Field(ge=1)]
    """Steps that each trial may make before it can be stopped."""
    reduction_factor: Annotated[int, Field(ge=2)]
    """Of so many trials one goes on at each halving."""
    seed: Annotated[int, Field(ge=0)]
    """Determines the values of the trials."""
    space: Annotated[dict[str, Axis], Field(min_length=1)]
    """Values by the dotted key of a setting, such as train.optimizer.generator_lr."""


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
