"""Whether a clip is good enough. Pure; thresholds come from the settings."""

from preprocessing.outcome import Filtered, Kept
from preprocessing.settings import QualitySettings


def judge(num_frames: int, mean_score: float, settings: QualitySettings) -> Kept | Filtered:
    """Return the clip's outcome by its length in frames and the mean confidence of its faces."""
    if num_frames < settings.min_num_frames:
        return Filtered("too_short")
    if mean_score < settings.min_mean_score:
        return Filtered("low_confidence")
    return Kept()
