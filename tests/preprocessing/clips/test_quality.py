from dataclasses import replace

import numpy as np
import pytest

from preprocessing.clips.quality import keep_or_filter, score_clip
from preprocessing.faces.appearance import Appearance
from preprocessing.faces.sightings import Sighting, Sightings
from preprocessing.faces.tracks import Tube
from preprocessing.ledger import ClipScores
from preprocessing.media.boxes import Box
from preprocessing.outcome import Filtered, Kept
from tests.preprocessing.faces.synthetic_video import NO_MINIATURES

GOOD = ClipScores(
    mean_score=0.9,
    sharpness=100.0,
    brightness=120.0,
    yaw_deg=5.0,
    pitch_deg=0.0,
    roll_deg=0.0,
    other_face=0.0,
    motion=4.0,
)


def sighting(left, level=100, score=0.9):
    looks = Appearance(10.0, float(level), np.full((16, 17), level, np.uint8))
    return Sighting(Box(left, 0, left + 100, 100), np.full((5, 2), np.nan), score, looks, None)


def test_a_clip_is_kept_exactly_from_its_shortest_length_on(shards_settings):
    quality = shards_settings.quality
    assert keep_or_filter(quality.min_num_frames, GOOD, quality) == Kept()
    assert keep_or_filter(quality.min_num_frames - 1, GOOD, quality) == Filtered("too_short")


@pytest.mark.parametrize(
    ("reason", "limit", "value", "worse", "better"),
    [
        ("low_confidence", "min_mean_score", "mean_score", 0.79, 0.8),
        ("blurry", "min_sharpness", "sharpness", 0.79, 0.8),
        ("dark", "min_brightness", "brightness", 0.79, 0.8),
        ("extreme_pose", "max_yaw_deg", "yaw_deg", 0.81, 0.8),
        ("extreme_pitch", "max_pitch_deg", "pitch_deg", 0.81, 0.8),
        ("extreme_pitch", "max_pitch_deg", "pitch_deg", -0.81, -0.8),
        ("extreme_roll", "max_roll_deg", "roll_deg", 0.81, 0.8),
        ("multiple_faces", "max_other_face", "other_face", 0.81, 0.8),
        ("static", "min_motion", "motion", 0.79, 0.8),
    ],
)
def test_each_threshold_leaves_out_by_its_own_reason(shards_settings, reason, limit, value, worse, better):
    strict = shards_settings.quality.model_copy(update={limit: 0.8})
    assert keep_or_filter(100, replace(GOOD, **{value: worse}), strict) == Filtered(reason)
    assert keep_or_filter(100, replace(GOOD, **{value: better}), strict) == Kept()
    off = strict.model_copy(update={limit: None if limit != "min_mean_score" else 0.0})
    assert keep_or_filter(100, replace(GOOD, **{value: worse}), off) == Kept()


def test_what_could_not_be_measured_breaks_no_rule(shards_settings):
    strict = shards_settings.quality.model_copy(update={"max_yaw_deg": 1.0, "min_motion": 100.0})
    unknown = replace(GOOD, yaw_deg=None, motion=None)
    assert keep_or_filter(100, unknown, strict) == Kept()


def test_another_face_counts_by_its_share_of_the_crop_while_the_clip_lasts():
    own = [sighting(0, level) for level in (100, 104, 100)]
    late, here = sighting(50), sighting(75)
    sightings = Sightings(
        0,
        [number / 25 for number in range(31)],
        (640, 360),
        [0, 10, 20, 30],
        [[own[0]], [own[1], here], [own[2]], [late]],
        [],
        b"",
        NO_MINIATURES,
    )
    tube = Tube(0, np.tile(own[0].box, (21, 1)).astype(np.float64), own, list(range(len(own))))
    scores = score_clip(tube, own[0].box, sightings)
    assert scores.other_face == pytest.approx(0.25)
    assert (scores.mean_score, scores.brightness, scores.yaw_deg) == (pytest.approx(0.9), 100.0, None)
    # A change of brightness alone is no motion.
    assert scores.motion == 0.0
