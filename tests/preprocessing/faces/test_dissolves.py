import cv2
import numpy as np
import pytest

from preprocessing.faces.dissolves import find_dissolves
from preprocessing.faces.miniatures import Miniatures

SIZE = (48, 27)


def scene(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (9, 16), np.uint8)
    return cv2.resize(noise, (96, 54), interpolation=cv2.INTER_CUBIC).astype(float)


def view(seed, shift):
    """A part of a scene, as a camera that moves would see it."""
    left = 10 + round(shift)
    return scene(seed)[10 : 10 + SIZE[1], left : left + SIZE[0]]


def dissolves(pictures):
    luma = np.array(list(pictures)).clip(0, 255).astype(np.uint8)
    miniatures = Miniatures(list(range(100, 100 + 5 * len(luma), 5)), SIZE, luma.tobytes())
    return find_dissolves(miniatures, 100 + 5 * len(luma))


def mixed(one, other, start, num_steps, count=20):
    for step in range(count):
        share = min(max((step - start) / num_steps, 0), 1)
        yield (1 - share) * one(step) + share * other(step)


@pytest.mark.parametrize("num_steps", [4, 5, 8, 10])
def test_a_dissolve_is_found_with_its_frames(num_steps):
    (found,) = dissolves(mixed(lambda step: view(0, 0), lambda step: view(1, 0), 6, num_steps))
    first_mixed, first_whole = 100 + 5 * 7, 100 + 5 * (6 + num_steps)
    assert first_mixed - 20 <= found.start <= first_mixed
    assert first_whole <= found.stop <= first_whole + 20


def test_a_dissolve_between_shots_that_move_is_found():
    assert len(dissolves(mixed(lambda step: view(0, step / 2), lambda step: view(1, -step / 3), 6, 5))) == 1


def test_a_fade_to_black_and_back_is_left_out():
    def black(step):
        return np.zeros(SIZE[::-1])

    out = list(mixed(lambda step: view(0, 0), black, 6, 5, 14))
    found = dissolves([*out, *out[::-1]])
    assert found[0].start >= 110
    assert all(any(frame in span for span in found) for frame in (140, 150, 190))
    assert found[-1].stop <= 230


def test_two_dissolves_are_two():
    first = list(mixed(lambda step: view(0, 0), lambda step: view(1, 0), 6, 5))
    second = list(mixed(lambda step: view(1, 0), lambda step: view(2, 0), 6, 5))
    one, other = dissolves([*first, *second])
    assert one.stop < 200 < other.start


@pytest.mark.parametrize(
    "pictures",
    [
        [view(0, 0)] * 20,
        [view(0, 1.5 * step) for step in range(20)],
        [view(0, 8 * np.sin(step)) for step in range(20)],
        [view(0, 0) * (1 - 0.04 * step) for step in range(20)],
        [view(0, 0) if step < 9 else view(1, 0) for step in range(20)],
        [view(0, 0) if step != 9 else view(0, 0) * 0 + 255 for step in range(20)],
        [view(step, 0) for step in range(20)],
        [view(0, 0)] * 2,
    ],
    ids=["still", "pan", "sway", "less light", "hard cut", "flash", "flicker", "short"],
)
def test_what_is_no_mixture_is_no_dissolve(pictures):
    assert dissolves(pictures) == []
