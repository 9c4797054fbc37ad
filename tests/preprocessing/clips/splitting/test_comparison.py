import pytest

from preprocessing.clips.splitting.comparison import compare_people


def changed(settings, **identity):
    return settings.model_copy(update={"identity": settings.identity.model_copy(update=identity)})


@pytest.fixture
def across(shards_settings):
    return changed(shards_settings, across_sources=True)


def test_the_shipped_calibration_counts(models, across):
    comparison = compare_people(models.parent, across)
    assert "0 of 323 pairs of two people match" in comparison.measured
    assert not comparison.why_not


@pytest.mark.parametrize(
    ("max_distance", "why_not"),
    [(0.6, "22 of 323 measured pairs of two people match"), (0.1, "22 of 26 measured pairs of halves")],
)
def test_a_distance_of_too_many_errors_does_not(models, across, max_distance, why_not):
    comparison = compare_people(models.parent, changed(across, max_distance=max_distance))
    assert comparison.measured is None
    assert why_not in comparison.why_not


@pytest.mark.parametrize(
    ("identity", "why_not"),
    [({"models": None}, "names no embedder"), ({"across_sources": False}, "across_sources is off")],
)
def test_labels_alone_do_not(models, across, identity, why_not):
    comparison = compare_people(models.parent, changed(across, **identity))
    assert comparison.measured is None
    assert why_not in comparison.why_not
