"""Only some motion directions follow the driving clip; the source keeps its pose along the others."""

import numpy as np
import pytest

from lia_model.animation.file import AnimationRequest, animate_file
from lia_model.animation.footage import first_picture
from lia_model.animation.framing import square_of
from lia_model.animation.options import AnimationOptions, OptionsConflictError
from lia_model.animation.run import AnimationRun
from preprocessing.media.images import cut
from preprocessing.media.video_reader import decode, probe
from tests.lia_model.animation.small_model import SIZE

NAMES = {2: "Nod", 4: "smile"}


@pytest.fixture
def synthesized(animator, monkeypatch):
    """Function that animates and returns the motion weights and the start that the model got."""
    calls = []
    synthesize = animator.synthesize

    def record(source, motion, start=None, batch_size=16):
        motion = list(motion)
        calls.append((np.stack(motion), start))
        return synthesize(source, motion, start, batch_size)

    monkeypatch.setattr(animator, "synthesize", record)

    def run(source, driving, output, **options):
        calls.clear()
        request = AnimationRequest(source, driving, output, AnimationOptions(crop=False, **options))
        animate_file(AnimationRun(animator, None, 4, direction_names=lambda: NAMES), request)
        return calls[0]

    return run


def poses(animator, images):
    middles = [cut(image, square_of(image, None), SIZE) for image in images]
    return np.stack(list(animator.motion_weights(middles, 4)))


def test_relative_motion_is_zero_along_the_directions_that_do_not_follow(
    synthesized, portrait, driving, tmp_path
):
    every, start = synthesized(portrait, driving, tmp_path / "all.mp4")
    for options, follows in (
        ({"directions": "1,smile"}, [True, False, False, True]),
        ({"exclude_directions": "NOD, 3"}, [True, False, False, True]),
        ({"directions": "1,2", "exclude_directions": "2"}, [True, False, False, False]),
    ):
        some, same = synthesized(portrait, driving, tmp_path / "some.mp4", **options)
        np.testing.assert_array_equal(same, start)
        np.testing.assert_array_equal(some - start, (every - start) * follows)
    assert np.abs(every - start).max(axis=0).min() > 0


def test_of_absolute_motion_the_source_keeps_its_own_pose_frame_by_frame(
    synthesized, animator, portrait, driving, tmp_path
):
    follows = np.array([False, True, False, False])
    for source, images in (
        (portrait, [first_picture(portrait)] * 9),
        (driving, [frame.image for frame in decode(driving)]),
    ):
        every, start = synthesized(source, driving, tmp_path / "all.mp4", mode="absolute")
        some, _ = synthesized(source, driving, tmp_path / "some.mp4", mode="absolute", directions="nod")
        assert start is None
        expected = np.where(follows, every, poses(animator, images))
        np.testing.assert_allclose(some, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"directions": "5"}, "directions has '5', but the model's directions are 1 to 4: choose"),
        (
            {"directions": "frown"},
            "has 'frown', but the model's directions are 1 to 4 and nod, smile: choose",
        ),
        ({"exclude_directions": "0"}, "exclude_directions has '0'"),
        ({"directions": "1", "exclude_directions": "1"}, "leaves none that moves"),
    ],
)
def test_directions_that_the_model_does_not_have_are_refused(
    synthesized, portrait, driving, tmp_path, options, message
):
    with pytest.raises(OptionsConflictError, match=message):
        synthesized(portrait, driving, tmp_path / "out.mp4", **options)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (SIZE, SIZE)),
        ({"size_px": 100}, (100, 100)),
        ({"size_px": 48, "side_by_side": True}, (144, 48)),
        ({"paste_back": True}, (40, 50)),
        ({"size_px": 25, "paste_back": True}, (20, 26)),
    ],
)
def test_the_result_has_the_height_that_was_asked_for(animator, portrait, driving, tmp_path, options, size):
    # H.264 needs even sides: 25 lines become 26.
    animate_file(
        AnimationRun(animator, None, 4),
        AnimationRequest(portrait, driving, tmp_path / "out.mp4", AnimationOptions(**options)),
    )
    info = probe(tmp_path / "out.mp4")
    assert (info.width_px, info.height_px, info.num_frames) == (*size, 9)


def test_a_result_that_would_be_too_wide_is_refused():
    with pytest.raises(OptionsConflictError, match=r"would be 40960 px wide; at most 8192"):
        AnimationOptions(size_px=2048).result_size(2000, 100)
