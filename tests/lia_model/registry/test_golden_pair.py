import dataclasses

import numpy as np
import pytest

from lia_model.registry import models
from lia_model.registry.golden_pair import (
    SHA256_TAG,
    GoldenPair,
    GoldenPairError,
    fetch_golden_pair,
    log_golden_pair,
    read_golden_pair,
    require_golden_result,
    write_golden_pair,
)
from lia_model.registry.lineage import pictures_showing


def inverted(source, driving, mode):
    """A model that inverts what drives it."""
    return (255 - frame for frame in driving)


def drawn(source, driving, mode):
    """Another model."""
    return iter(driving)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    source, *driving = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    driving = np.stack(driving)
    return GoldenPair(source, driving, "absolute", 255 - driving, max_difference=0.5)


def test_a_pair_is_read_as_it_was_written(pair, tmp_path):
    write_golden_pair(pair, tmp_path / "pair.safetensors")
    found = read_golden_pair(tmp_path / "pair.safetensors")
    for field in dataclasses.fields(pair):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(pair, field.name))


def test_the_difference_is_a_mean_over_all_values_in_levels(pair):
    assert pair.difference(inverted) == 0
    one_off = dataclasses.replace(pair, result=pair.result ^ 1)
    assert one_off.difference(inverted) == 1
    half = pair.result.copy()
    half[:, :4] ^= 1
    dataclasses.replace(pair, result=half).require(inverted, "models:/lia/1")
    with pytest.raises(
        GoldenPairError, match=r"models:/lia/1 gives .* is 1\.00 of 255 levels, allowed is 0\.5;"
    ):
        one_off.require(inverted, "models:/lia/1")


@pytest.fixture
def kept(pair, version, open_run):
    """The run of the version, whose pair shows a clip of `held`."""
    run = open_run("registered")
    log_golden_pair(pair, "lia-test", version, "held-0--held-1", run)
    return run


def test_a_version_is_checked_with_the_pair_of_its_release(kept, version, tmp_path):
    assert fetch_golden_pair("lia-test", version, tmp_path) is not None
    require_golden_result("lia-test", version, tmp_path, inverted)
    with pytest.raises(GoldenPairError, match=f"models:/lia-test/{version} gives another result"):
        require_golden_result("lia-test", version, tmp_path, drawn)
    require_golden_result("lia-test", version + "0", tmp_path, drawn)


def test_a_pair_that_changed_is_refused(kept, version, tmp_path):
    models.tag_version("lia-test", version, {SHA256_TAG: "0" * 64})
    with pytest.raises(GoldenPairError, match="has changed since its release"):
        fetch_golden_pair("lia-test", version, tmp_path)


def test_a_takedown_finds_the_pair_and_the_version_then_has_none(kept, version, tmp_path):
    assert fetch_golden_pair("lia-test", version, tmp_path) is not None
    shown = pictures_showing(["held"], [])[kept.run_id]
    assert [path for path in shown if path.startswith("golden/lia-test-")] == [
        f"golden/lia-test-{version}--held-0--held-1.safetensors"
    ]
    kept.delete_files(shown)
    assert fetch_golden_pair("lia-test", version, tmp_path) is None
    require_golden_result("lia-test", version, tmp_path, drawn)
