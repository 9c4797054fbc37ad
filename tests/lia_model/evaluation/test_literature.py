import pytest

from lia_model.evaluation.literature import PUBLISHED, PublishedRow
from lia_model.evaluation.metric_table import METRICS, MISSING, PIXEL_METRICS

PLAUSIBLE = {"l1": (0.01, 0.2), "psnr": (15, 40), "ssim": (0.3, 1), "lpips": (0.01, 0.5)}


def test_the_numbers_of_a_row_are_the_pixel_metrics():
    assert (
        set(PIXEL_METRICS) == set(PublishedRow._fields) - {"method", "source", "protocol"} == set(PLAUSIBLE)
    )


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.method)
def test_a_number_is_plausible_for_its_metric_or_missing(row):
    values = {name: getattr(row, name) for name in PIXEL_METRICS}
    printed = {name: float(text) for name, text in values.items() if text != MISSING}
    assert printed
    for name, value in printed.items():
        low, high = PLAUSIBLE[name]
        assert low < value < high


def test_every_row_names_its_source_and_protocol_and_no_method_is_listed_twice():
    assert all(row.method and row.protocol and "Table" in row.source for row in PUBLISHED)
    assert len({(row.method, row.source) for row in PUBLISHED}) == len(PUBLISHED)


@pytest.mark.parametrize("name", PIXEL_METRICS)
def test_lia_x_is_best_under_its_own_protocol_as_its_paper_reports(name):
    (best,) = [row for row in PUBLISHED if row.method == "LIA-X (256)"]
    others = [row for row in PUBLISHED if row.protocol == best.protocol and row is not best]
    numbers = [float(getattr(row, name)) for row in others if getattr(row, name) != MISSING]
    assert numbers
    assert all(METRICS[name].is_better(float(getattr(best, name)), number) for number in numbers)
