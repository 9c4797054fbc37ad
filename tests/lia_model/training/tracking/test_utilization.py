import logging

import pytest
import torch

from lia_model.device.precision import resolve_precision
from lia_model.training.tracking.utilization import (
    PEAK_TFLOP_PER_S,
    flop_per_pair,
    peak_flop_per_s,
    utilization_per_pair,
)

CPU = torch.device("cpu")


def with_adversarial(settings, **changes):
    losses = settings.losses
    adversarial = losses.adversarial.model_copy(update=changes)
    return settings.model_copy(update={"losses": losses.model_copy(update={"adversarial": adversarial})})


def test_a_term_of_every_fourth_step_counts_a_quarter(train_settings):
    never, always, rarely = (
        flop_per_pair(with_adversarial(train_settings, **changes), 32, CPU)
        for changes in ({"weight": 0.0}, {"every_steps": 1}, {"every_steps": 4})
    )
    assert never < rarely < always
    assert rarely - never == pytest.approx((always - never) / 4)


def test_twice_the_image_takes_more_than_three_times_the_operations(train_settings):
    # The layers at few pixels weigh less in the larger image, but there are more of them.
    small, large = (flop_per_pair(train_settings, size_px, CPU) for size_px in (32, 64))
    assert large > 3 * small


def test_a_later_start_is_counted_as_it_is_from_there(train_settings):
    later = with_adversarial(train_settings, start_step=1000)
    assert flop_per_pair(later, 32, CPU) == flop_per_pair(train_settings, 32, CPU)


def test_an_unknown_peak_leaves_the_metric_out_and_says_so(train_settings, caplog):
    with caplog.at_level(logging.INFO, logger="lia_model"):
        assert utilization_per_pair(train_settings, 32, CPU) is None
    assert "the peak of this processor is not known" in caplog.text


def test_peaks_are_those_of_the_card_and_the_precision():
    assert peak_flop_per_s("NVIDIA H100 80GB HBM3", "bf16") == 989e12
    assert peak_flop_per_s("NVIDIA H100 PCIe", "tf32") == 378e12
    assert peak_flop_per_s("NVIDIA A100-SXM4-80GB", "fp32") == 19.5e12
    assert peak_flop_per_s("NVIDIA GeForce GTX 1080", "fp32") is None


def test_auto_is_measured_by_the_peak_of_the_precision_it_stands_for(train_settings, monkeypatch):
    monkeypatch.setitem(PEAK_TFLOP_PER_S, "this processor", (1.0, 2.0, 4.0))
    shares = [
        utilization_per_pair(train_settings.model_copy(update={"precision": precision}), 32, CPU)
        for precision in ("auto", resolve_precision("auto", CPU), "fp32", "bf16")
    ]
    assert shares[0] == shares[1]
    assert shares[2] == pytest.approx(4 * shares[3])
