import numpy as np
import pytest

from preprocessing.clips.members.sound import cut_sound, sound_record
from preprocessing.clips.sample import ClipSound
from preprocessing.media.sound.excerpt import RATE_HZ, Excerpt

SPANS = {"k-whole-000-000000": (0.0, 2.0), "k-whole-001-000050": (2.0, 2.5), "mute": (8.0, 9.0)}


class Sound:
    """A noise of 6 s that is read, and counts how often."""

    def __init__(self):
        self.read_spans = []

    def __call__(self):
        return self

    def read(self, start_s, end_s):
        self.read_spans.append((start_s, end_s))
        if start_s > 6:
            return None
        samples = np.random.default_rng(0).integers(-999, 999, round((end_s - start_s) * RATE_HZ), np.int16)
        return Excerpt(samples, 7)


@pytest.fixture
def cut(tmp_path):
    return lambda sound, spans=SPANS, sha256="a": cut_sound(spans, sha256, sound, tmp_path)


def test_sound_is_stored_with_what_is_known_of_it(cut, tmp_path):
    found = cut(Sound())
    assert found == {
        "k-whole-000-000000": ClipSound(rate_hz=RATE_HZ, num_samples=32000, num_filled=7),
        "k-whole-001-000050": ClipSound(rate_hz=RATE_HZ, num_samples=8000, num_filled=7),
        "mute": None,
    }
    assert {path.name for path in tmp_path.glob("*.flac")} == {
        f"{key}.flac" for key in SPANS if key != "mute"
    }


def test_what_is_stored_is_not_read_again_and_that_there_is_none_is_remembered(cut):
    found, again = cut(Sound()), Sound()
    assert cut(again) == found
    assert again.read_spans == []


@pytest.mark.parametrize("damage", ["flac", "record", "span", "video"])
def test_only_what_changed_or_is_missing_is_read_again(cut, tmp_path, damage):
    cut(Sound())
    first, again, spans, sha256 = next(iter(SPANS)), Sound(), dict(SPANS), "a"
    if damage == "flac":
        (tmp_path / f"{first}.flac").unlink()
    elif damage == "record":
        (tmp_path / sound_record(first)).unlink()
    elif damage == "span":
        spans[first] = (0.0, 2.2)
    else:
        sha256 = "b"
    cut(again, spans, sha256)
    assert again.read_spans == (list(spans.values()) if damage == "video" else [spans[first]])
