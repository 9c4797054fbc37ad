from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from preprocessing.settings import DownloadSettings, Settings, ShardsSettings


class Inner(Settings):
    file: Path
    other: Path | None
    number: int


class Outer(Settings):
    folder: Path
    inner: Inner
    nothing: Inner | None


def groups(settings_type):
    """Yield a group of settings and all groups inside it."""
    yield settings_type
    for field in settings_type.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from groups(field.annotation)


ALL_GROUPS = [*groups(DownloadSettings), *groups(ShardsSettings)]


def changed(settings, dotted, value):
    """Return the settings' values with one of them changed."""
    values = settings.model_dump()
    *sections, key = dotted.split(".")
    section = values
    for name in sections:
        section = section[name]
    assert key in section
    section[key] = value
    return values


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_no_setting_has_a_default_in_python(group):
    assert {field.default for field in group.model_fields.values()} == {PydanticUndefined}
    assert {field.default_factory for field in group.model_fields.values()} == {None}


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_every_setting_says_what_it_means(group):
    assert all(field.description for field in group.model_fields.values())


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_every_group_is_frozen_and_refuses_unknown_keys(group):
    assert (group.model_config["frozen"], group.model_config["extra"]) == (True, "forbid")


@pytest.mark.parametrize(
    ("dotted", "good", "bad"),
    [
        ("fps", 1, 0),
        ("max_gap_s", 0.1, 0),
        ("shard_bytes", 1, 0),
        ("jpeg_quality", 1, 0),
        ("jpeg_quality", 100, 101),
        ("webp_quality", 1, 0),
        ("codec", "webp", "avif"),
        ("test_fraction", 0, -0.01),
        ("test_fraction", 1, 1.01),
        ("num_parallel", 1, 0),
        ("timeout_s", 0.1, 0),
        ("detect.every_num_frames", 1, 0),
        ("detect.pad_px", 0, -1),
        ("identity.max_distance", 0.1, 0),
        ("crop.rule", "body", "round"),
        ("crop.size_px", 8, 7),
        ("crop.scale", 1, 0.99),
        ("quality.min_motion", None, -1),
        ("quality.min_duplicate_similarity", None, 1.01),
        # The value of `max_duplicate_distance`, which this setting replaced.
        ("quality.min_duplicate_similarity", 0.5, 0.05),
    ],
)
def test_values_are_accepted_up_to_their_limit(shards_settings, dotted, good, bad):
    ShardsSettings(**changed(shards_settings, dotted, good))
    with pytest.raises(ValidationError, match=dotted):
        ShardsSettings(**changed(shards_settings, dotted, bad))


@pytest.mark.parametrize(
    ("dotted", "good", "bad"),
    [
        ("bad_rows", "skip", "ignore"),
        ("timeout_s", 0.1, 0),
        ("min_decode_fps", 0.1, 0),
        ("num_retries", 0, -1),
        ("retry_delay_s", 0, -1),
        ("num_fragment_retries", 0, -1),
        ("retry_permanent_days", 0, -1),
        ("max_per_hour", {}, {"a.org": 0}),
        ("max_bytes_per_s", None, 0),
        ("js_runtime", None, ""),
        ("js_runtime", "node:/opt/node", "node:"),
        ("js_runtime", "deno", "python"),
    ],
)
def test_values_of_the_download_are_accepted_up_to_their_limit(download_settings, dotted, good, bad):
    DownloadSettings(**changed(download_settings, dotted, good))
    with pytest.raises(ValidationError, match=dotted):
        DownloadSettings(**changed(download_settings, dotted, bad))


def test_relative_paths_are_taken_from_the_root_at_every_depth():
    inner = Inner(file=Path("a/b"), other=Path("/absolute"), number=3)
    settings = Outer(folder=Path("c"), inner=inner, nothing=None)
    assert settings.with_paths_under(Path("/project")) == Outer(
        folder=Path("/project/c"),
        inner=Inner(file=Path("/project/a/b"), other=Path("/absolute"), number=3),
        nothing=None,
    )
    assert settings.inner == inner


def test_paths_under_a_root_are_not_moved_again():
    settings = Inner(file=Path("a"), other=None, number=3).with_paths_under(Path("/project"))
    assert settings.with_paths_under(Path("/elsewhere")) == settings
