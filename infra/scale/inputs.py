"""Inputs of the simulator, each with what it rests on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

INPUTS = Path(__file__).with_name("inputs.yaml")
PRESET = Path(__file__).parents[2] / "pipelines/presets/vox256.yaml"


class Input(BaseModel):
    """One number; its unit is in its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    basis: Literal["measured", "computed", "setting", "target", "assumed"]
    source: str


class Inputs:
    """All numbers by name, as attributes would be: `inputs["video_s"]`."""

    def __init__(self, given: Mapping[str, Input]) -> None:
        self.given = dict(given)

    def __getitem__(self, name: str) -> float:
        """Return a number."""
        return self.given[name].value

    def changed(self, values: Mapping[str, float]) -> "Inputs":
        """Return these inputs with other values.

        Raises:
            ValueError: there is no such input.
        """
        unknown = sorted(set(values) - set(self.given))
        if unknown:
            raise ValueError(f"there is no input {unknown[0]}: infra/scale/inputs.yaml lists them")
        new = {name: self.given[name].model_copy(update={"value": value}) for name, value in values.items()}
        return Inputs({**self.given, **new})


def read_inputs() -> Inputs:
    """Read inputs.yaml, and the settings of the vox256 preset."""
    given = {name: Input(**entry) for name, entry in yaml.safe_load(INPUTS.read_text()).items()}
    preset = yaml.safe_load(PRESET.read_text())
    settings = {
        "downloads_per_hour": preset["download"]["max_per_hour"]["youtube.com"],
        "num_steps": preset["train"]["num_steps"],
        "global_batch_size": preset["train"]["global_batch_size"],
        "micro_batch_size": preset["train"]["micro_batch_size"],
        "cache_bytes": preset["train"]["shard_cache"]["max_bytes"],
        "max_num_queued": preset["serve"]["max_num_queued"],
        "keep_hours": preset["serve"]["keep_hours"],
        "max_stored_bytes": preset["serve"]["max_stored_bytes"],
    }
    read = {name: Input(value=value, basis="setting", source="vox256") for name, value in settings.items()}
    return Inputs({**given, **read})
