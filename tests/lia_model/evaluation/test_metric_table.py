import numpy as np
import pytest
import torch

from lia_model.data.pair_list import PROTOCOLS
from lia_model.evaluation import face_distances
from lia_model.evaluation.metric_table import (
    FACE_METRICS,
    METRICS,
    PIXEL_METRICS,
    PROTOCOL_METRICS,
)
from lia_model.losses import image_distances
from lia_model.losses.image_distances import Lpips

FACE = np.random.default_rng(0).uniform(0, 64, (68, 2))
MOVED = FACE + np.random.default_rng(1).normal(0, 3, (68, 2))
PERSON, OTHER = np.eye(2, 128)


@pytest.mark.parametrize("name", PIXEL_METRICS)
def test_an_equal_image_is_better_than_a_changed_one(name, models):
    measure = Lpips(models / "lpips_alex.safetensors") if name == "lpips" else getattr(image_distances, name)
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        equal, changed = (float(measure(other, image)) for other in (image, image.flip(-1)))
    assert METRICS[name].is_better(equal, changed)
    assert not METRICS[name].is_better(changed, equal)
    assert not METRICS[name].is_better(equal, equal)


@pytest.mark.parametrize(
    ("name", "equal", "changed"),
    [
        ("akd", face_distances.landmark_distance(FACE, FACE), face_distances.landmark_distance(FACE, MOVED)),
        (
            "aed",
            face_distances.identity_distance(PERSON, PERSON),
            face_distances.identity_distance(PERSON, OTHER),
        ),
        (
            "csim",
            face_distances.identity_similarity(PERSON, PERSON),
            face_distances.identity_similarity(PERSON, OTHER),
        ),
        (
            "motion",
            face_distances.motion_distance((FACE, MOVED), (FACE, MOVED)),
            face_distances.motion_distance((FACE, FACE), (FACE, MOVED)),
        ),
    ],
)
def test_an_equal_face_is_better_than_a_changed_one(name, equal, changed):
    assert METRICS[name].is_better(equal, changed)


def test_every_protocol_uses_metrics_of_single_pairs():
    used = {name for names in PROTOCOL_METRICS.values() for name in names}
    assert used == {*PIXEL_METRICS, *FACE_METRICS}
    assert tuple(PROTOCOL_METRICS) == PROTOCOLS


def test_a_value_is_written_with_its_decimals_and_a_missing_one_as_a_dash():
    assert METRICS["l1"].text(0.04321) == "0.0432"
    assert METRICS["improvement"].text(0.5) == "+50.0%"
    assert METRICS["akd"].text(None) == "—"


def test_a_heading_names_unit_and_direction():
    assert METRICS["psnr"].heading == "PSNR, dB ↑"
    assert METRICS["l1"].heading == "L1 ↓"
