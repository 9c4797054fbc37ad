"""The sole reader of params.yaml: every number of the pipeline, as frozen settings, one section a stage."""

import difflib
import typing
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lia_model.settings import EvaluateSettings, ReleaseSettings, ServeSettings, TrainSettings
from preprocessing.settings import DownloadSettings, ShardsSettings


class Params(BaseModel):
    """All of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    download: DownloadSettings
    """From data/sources.csv to data/raw."""
    shards: ShardsSettings
    """From data/raw to data/shards."""
    train: TrainSettings
    """From data/shards to checkpoints/final."""
    evaluate: EvaluateSettings
    """From checkpoints/final and held-out clips to metrics."""
    release: ReleaseSettings
    """From checkpoints/final to the registry."""
    serve: ServeSettings
    """From the registry to animations."""


def read_params(path: Path) -> Params:
    """Read and check the settings in `path`.

    Raises:
        ValueError: one line that names the file, the key and what is allowed there.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: write it with `lia preset demo`")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds {type(content).__name__}, not sections: write it with `lia preset demo`"
        )
    return check_params(content, path)


def check_params(content: dict[str, object], path: Path) -> Params:
    """Turn the parsed `content` of the file `path` into settings.

    Raises:
        ValueError: one line that names the file, the key and what is allowed there.
    """
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        # A misspelt key is also a missing one; the misspelling is the better message.
        found = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        loc, kind, message = found[0]["loc"], found[0]["type"], found[0]["msg"]
        key = ".".join(str(part) for part in loc)
        if kind == "extra_forbidden":
            text = f"{key} is not a key; {_allowed_instead(loc)}"
        elif kind == "missing":
            text = f"{key} is missing: add it{_choices(loc)}, or write a whole recipe with `lia preset demo`"
        elif isinstance(found[0]["input"], dict):
            # The whole section, whose keys contradict each other.
            text = f"{key}: {message.removeprefix('Value error, ')}"
        else:
            text = f"{key} is {found[0]['input']!r}: {message}; correct it"
        raise ValueError(f"{path}: {text}") from None
    return _with_checked_terms(params, path)


def _with_checked_terms(params: Params, path: Path) -> Params:
    """Check keys of `train.losses` that the settings do not declare: each must name a loss term."""
    if not params.train.losses.model_extra:
        return params
    # Imported here because it imports torch, which most commands do not need.
    from lia_model.losses.terms import check_terms

    try:
        losses = check_terms(params.train.losses)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return params.model_copy(update={"train": params.train.model_copy(update={"losses": losses})})


def _choices(loc: tuple[int | str, ...]) -> str:
    """Return in brackets which words the setting at `loc` takes; empty if it takes others than words."""
    field = _section(loc[:-1]).model_fields.get(str(loc[-1]))
    words = typing.get_args(field.annotation) if field is not None else ()
    return f" ({' or '.join(words)})" if words and all(isinstance(word, str) for word in words) else ""


def _allowed_instead(loc: tuple[int | str, ...]) -> str:
    allowed = sorted(_section(loc[:-1]).model_fields)
    nearest = difflib.get_close_matches(str(loc[-1]), allowed, n=1)
    if nearest:
        return f"did you mean {'.'.join(str(part) for part in (*loc[:-1], nearest[0]))}?"
    return f"allowed here: {', '.join(allowed)}"


def _section(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the settings class that stands at `loc`."""
    section: type[BaseModel] = Params
    for part in loc:
        field = section.model_fields.get(str(part))
        if field is None:
            break
        annotation = field.annotation
        options = (annotation, *typing.get_args(annotation))
        section = next(
            (one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), section
        )
    return section
