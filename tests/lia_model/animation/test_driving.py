from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from lia_model.animation.driving import (
    collect_motion,
    driving_frames,
    extract_motion,
    frame_driving,
    open_driving,
)
from lia_model.animation.file import AnimationRequest, animate_file
from lia_model.animation.footage import UnreadableMediaError, first_picture
from lia_model.animation.framing import NoFaceError
from lia_model.animation.motion_file import Motion, write_motion
from lia_model.animation.options import AnimationOptions
from lia_model.animation.run import AnimationRun, StoppedError
from preprocessing.media.boxes import middle_square
from preprocessing.media.images import cut
from preprocessing.media.video_reader import decode
from tests.lia_model.animation.small_model import SIZE, small_animator

NTSC = Fraction(30000, 1001)


@pytest.fixture
def run(animator):
    return AnimationRun(animator, None, batch_size=4)


@pytest.fixture
def cropping(animator, cropper):
    return AnimationRun(animator, cropper, batch_size=16)


def framed(path, run):
    return frame_driving(open_driving(path, run, convert=True), run)


def weights_of(frames):
    return np.stack([frame.weights for frame in frames])


def made_up_motion(animator, num_frames=5, starts_s=None):
    weights = np.random.default_rng(0).normal(size=(num_frames, 4)).astype(np.float32)
    return Motion(weights, Fraction(10), False, animator.fingerprint, None, starts_s)


def test_a_clip_an_image_and_a_motion_file_tell_their_frames_rate_and_sound(
    run, driving, portrait, motion_file
):
    clip, still, motion = (open_driving(path, run, True) for path in (driving, portrait, motion_file))
    assert (clip.num_frames, clip.fps, clip.is_still, clip.sound) == (9, NTSC, False, driving)
    assert (still.num_frames, still.fps, still.is_still, still.sound) == (1, 25, True, None)
    assert (motion.num_frames, motion.fps, motion.is_still, motion.sound) == (7, 24, False, None)
    for opened, path in ((clip, driving), (still, portrait), (motion, motion_file)):
        assert opened.name == path.name
        assert opened.has_constant_rate
        assert opened.square is None


def test_a_driving_file_of_another_kind_is_refused(run, tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    for name in ("notes.txt", "nowhere.mp4"):
        with pytest.raises(UnreadableMediaError, match=name):
            open_driving(tmp_path / name, run, True)


def test_the_motion_of_another_model_is_refused(motion_file):
    other = AnimationRun(small_animator(seed=1), None)
    with pytest.raises(UnreadableMediaError, match="motion of another model"):
        open_driving(motion_file, other, True)


def test_an_image_that_needs_a_conversion_is_refused_without_convert(run, tmp_path):
    Image.new("RGBA", (40, 40), (90, 90, 90, 128)).save(tmp_path / "clear.png")
    assert open_driving(tmp_path / "clear.png", run, convert=True).is_still
    with pytest.raises(UnreadableMediaError, match=r"clear\.png"):
        open_driving(tmp_path / "clear.png", run, convert=False)


def test_without_cropping_the_middle_square_is_seen(run, driving, portrait):
    assert framed(driving, run).square == middle_square((48, 40))
    assert framed(portrait, run).square == middle_square((40, 50))
    assert framed(driving, run).framing is None


def test_with_cropping_the_square_is_that_of_the_face(cropping, cropper, face_clip):
    opened = open_driving(face_clip, cropping, True)
    framed_clip = frame_driving(replace(opened, num_frames=99), cropping)
    assert framed_clip.num_frames == 7
    assert framed_clip.framing.square == framed_clip.square != middle_square((640, 360))
    (face, *_) = cropper.find(first_picture(face_clip))
    assert framed_clip.framing.positions[0].box == face


def test_a_clip_without_a_face_is_refused_by_role_and_name(cropping, driving):
    with pytest.raises(NoFaceError, match=rf"driving file {driving.name}"):
        framed(driving, cropping)


def test_a_motion_file_brings_the_framing_of_its_clip_along(cropping, face_clip, motion_file):
    by_file, by_clip = framed(motion_file, cropping), framed(face_clip, cropping)
    assert by_file.framing == by_clip.framing is not None
    assert by_file.square is None


@pytest.mark.parametrize("batch_size", [1, 4, 9, 16])
def test_the_motion_does_not_depend_on_how_frames_are_batched(animator, driving, batch_size):
    squares = [cut(frame.image, middle_square((48, 40)), SIZE) for frame in decode(driving)]
    one_by_one = np.stack([next(animator.motion_weights([square])) for square in squares])
    motion = extract_motion(AnimationRun(animator, None, batch_size=batch_size), driving)
    np.testing.assert_allclose(motion.weights, one_by_one, rtol=1e-4, atol=1e-5)
    assert len({row.tobytes() for row in motion.weights}) == 9


@pytest.mark.parametrize("with_views", [True, False])
def test_streamed_frames_have_the_motion_that_is_collected_as_a_whole(run, driving, with_views):
    clip = framed(driving, run)
    frames = list(driving_frames(clip, run, with_views))
    np.testing.assert_array_equal(weights_of(frames), collect_motion(clip, run).weights)
    for number, (frame, shown) in enumerate(zip(frames, decode(driving), strict=True)):
        assert float(frame.start) == pytest.approx(number / NTSC, abs=1e-3)
        if with_views:
            np.testing.assert_array_equal(frame.view, cut(shown.image, clip.square, SIZE))
        else:
            assert frame.view is None


@pytest.mark.parametrize("with_views", [True, False])
def test_motion_that_is_known_is_not_computed_again(run, driving, with_views):
    clip = framed(driving, run)
    known = made_up_motion(run.animator, num_frames=9)
    frames = list(driving_frames(replace(clip, motion=known), run, with_views))
    np.testing.assert_array_equal(weights_of(frames), known.weights)
    assert collect_motion(replace(clip, motion=known), run) is known
    if with_views:
        direct = driving_frames(clip, run, with_views=True)
        np.testing.assert_array_equal([frame.view for frame in frames], [frame.view for frame in direct])


@pytest.mark.parametrize("starts_s", [None, np.array([0, 0.1, 0.5, 0.75, 2])])
def test_a_motion_file_shows_its_frames_at_their_times(run, starts_s, tmp_path):
    motion = made_up_motion(run.animator, starts_s=starts_s)
    write_motion(tmp_path / "m", motion)
    opened = framed(tmp_path / "m", run)
    frames = list(driving_frames(opened, run, with_views=False))
    expected = [Fraction(n, 10) for n in range(5)] if starts_s is None else [*map(Fraction, starts_s)]
    assert [frame.start for frame in frames] == expected
    assert opened.has_constant_rate == (starts_s is None)
    np.testing.assert_array_equal(weights_of(frames), motion.weights)


def test_extracting_a_motion_file_gives_it_back(run, tmp_path):
    motion = made_up_motion(run.animator)
    write_motion(tmp_path / "m", motion)
    again = extract_motion(run, tmp_path / "m")
    np.testing.assert_array_equal(again.weights, motion.weights)
    assert replace(again, weights=motion.weights) == motion


def test_the_motion_of_a_still_is_the_pose_of_its_one_picture(run, portrait):
    motion = extract_motion(run, portrait)
    (pose,) = motion.weights
    square = cut(first_picture(portrait), middle_square((40, 50)), SIZE)
    np.testing.assert_array_equal(pose, next(run.animator.motion_weights([square])))
    assert motion.is_still
    assert motion.model == run.animator.fingerprint


def test_every_stage_stops_when_asked_to(cropping, face_clip, motion_file):
    going, stopped = cropping, replace(cropping, should_stop=lambda: True)
    opened = open_driving(face_clip, going, True)
    clip = frame_driving(opened, going)
    stages = [
        lambda: frame_driving(opened, stopped),
        lambda: collect_motion(clip, stopped),
        lambda: list(driving_frames(clip, stopped, with_views=False)),
        lambda: list(driving_frames(replace(clip, motion=collect_motion(clip, going)), stopped, True)),
        lambda: list(driving_frames(framed(motion_file, going), stopped, with_views=False)),
        lambda: extract_motion(stopped, face_clip),
    ]
    for stage in stages:
        with pytest.raises(StoppedError):
            stage()


def written_by(written, run, request):
    """Animate and return the frames that went into the video."""
    written.clear()
    animate_file(run, request)
    return np.stack(written)


@pytest.mark.parametrize("options", [{"mode": "absolute"}, {"mode": "relative"}, {"start": "best"}])
@pytest.mark.parametrize("crop", [True, False])
def test_a_motion_file_drives_as_its_clip_does(cropping, photo, face_clip, written, options, crop, tmp_path):
    run = cropping if crop else replace(cropping, cropper=None)
    write_motion(tmp_path / "m", extract_motion(run, face_clip))
    wanted = AnimationOptions(crop=crop, **options)
    by_clip, by_file = (
        written_by(written, run, AnimationRequest(photo, path, tmp_path / "o.mp4", wanted))
        for path in (face_clip, tmp_path / "m")
    )
    assert len(by_clip) == 7
    np.testing.assert_array_equal(by_file, by_clip)


def test_a_motion_file_of_a_still_holds_its_pose_for_a_whole_video(
    cropping, photo, face_clip, written, tmp_path
):
    absolute = AnimationOptions(mode="absolute")
    write_motion(tmp_path / "m", extract_motion(cropping, photo))
    by_still, by_file = (
        written_by(written, cropping, AnimationRequest(face_clip, path, tmp_path / "o.mp4", absolute))
        for path in (photo, tmp_path / "m")
    )
    assert len(by_still) == 7
    np.testing.assert_array_equal(by_file, by_still)
