from preprocessing.outcome import Filtered, Kept, label
from preprocessing.quality import judge


def test_a_clip_is_kept_exactly_from_its_thresholds_on(shards_settings):
    quality = shards_settings.quality
    assert judge(quality.min_num_frames, quality.min_mean_score, quality) == Kept()
    assert judge(quality.min_num_frames - 1, 0.99, quality) == Filtered("too_short")
    strict = quality.model_copy(update={"min_mean_score": 0.8})
    assert judge(100, 0.79, strict) == Filtered("low_confidence")


def test_outcomes_are_counted_with_their_reason():
    assert [label(Kept()), label(Filtered("too_short"))] == ["kept", "filtered(too_short)"]
