import numpy as np
import pytest

from preprocessing.clips.duplicates import find_duplicates


@pytest.fixture
def bits():
    return np.random.default_rng(0).integers(0, 2, 1024).astype(bool)


def text(bits):
    return np.packbits(bits).tobytes().hex()


def flipped(bits, count):
    other = bits.copy()
    other[np.random.default_rng(1).permutation(1024)[:count]] ^= True
    return text(other)


def test_another_encoding_of_one_recording_is_a_duplicate_of_the_first(bits):
    hashes = {"b": flipped(bits, 40), "a": text(bits), "c": flipped(bits, 300)}
    assert find_duplicates(hashes, {"a": "1", "b": "2", "c": "3"}, 0.05) == {"b": "a"}


def test_clips_of_one_video_are_never_duplicates(bits):
    assert find_duplicates({"a": text(bits), "b": text(bits)}, {"a": "1", "b": "1"}, 0.05) == {}


def test_a_third_copy_names_the_one_that_stays(bits):
    hashes = {name: flipped(bits, number) for number, name in enumerate("abc")}
    assert find_duplicates(hashes, dict(zip("abc", "123", strict=True)), 0.05) == {"b": "a", "c": "a"}


def test_flat_pictures_say_nothing():
    flat = text(np.zeros(1024, bool))
    assert find_duplicates({"a": flat, "b": flat}, {"a": "1", "b": "2"}, 0.05) == {}
