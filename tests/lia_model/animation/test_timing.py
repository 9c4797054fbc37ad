"""Picture and sound of a result stay in step with the driving clip, whose frames tell their numbers."""

from itertools import pairwise

import av
import numpy as np
import pytest
from PIL import Image

from lia_model.animation.driving import extract_motion
from lia_model.animation.file import AnimationRequest, animate_file
from lia_model.animation.footage import UnreadableMediaError
from lia_model.animation.motion_file import write_motion
from lia_model.animation.options import AnimationOptions, OptionsConflictError
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from preprocessing.media.video_reader import decode, probe
from tests.timed_clip import LEVELS_A_FRAME, PAUSED, loudness_at, make_clip

SIZE = 32


@pytest.fixture(scope="module")
def animation():
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=SIZE)
    return AnimationRun(Animator(build_generator(settings, seed=0), "cpu", "fp32"), None, batch_size=3)


@pytest.fixture
def portrait(tmp_path):
    Image.fromarray(np.full((SIZE, SIZE, 3), 128, np.uint8)).save(tmp_path / "portrait.png")
    return tmp_path / "portrait.png"


def animate(animation, portrait, driving, output, **options):
    options = AnimationOptions.model_validate({"side_by_side": True} | options)
    return animate_file(animation, AnimationRequest(portrait, driving, output, options))


def driving_numbers(path):
    """Return when each driving frame is shown in a result, by the brightness of its panel."""
    return [
        (frame.pts_s, round((float(frame.image[SIZE // 2, SIZE + SIZE // 2].mean()) - 5) / LEVELS_A_FRAME))
        for frame in decode(path)
    ]


def test_at_source_rate_each_frame_is_shown_when_the_driving_clip_shows_it(animation, portrait, tmp_path):
    driving = make_clip(tmp_path / "v.mov", PAUSED, sound_s=1.1)
    result = animate(animation, portrait, driving, tmp_path / "out.mp4")
    shown = driving_numbers(tmp_path / "out.mp4")
    assert [number for _, number in shown] == list(range(len(PAUSED)))
    assert [time for time, _ in shown] == pytest.approx(PAUSED, abs=1e-3)
    assert (result.num_frames, result.warnings) == (len(PAUSED), ())
    assert loudness_at(tmp_path / "out.mp4", 0.8) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("fps", [10, 25, 29.97, 50])
def test_at_a_constant_rate_no_frame_is_off_by_more_than_half_a_frame(animation, portrait, tmp_path, fps):
    driving = make_clip(tmp_path / "v.mov", PAUSED, sound_s=1.1)
    result = animate(animation, portrait, driving, tmp_path / "out.mp4", fps=fps)
    info = probe(tmp_path / "out.mp4")
    assert info.has_constant_rate
    assert float(info.fps) == pytest.approx(fps, abs=0.001)
    shown = driving_numbers(tmp_path / "out.mp4")
    assert len(shown) == result.num_frames == pytest.approx(1.02 * fps, abs=0.51)
    for time, number in shown:
        begins, ends = [*PAUSED, 1.02][number : number + 2]
        assert begins - 1e-3 <= time + 0.5 / fps <= ends + 1e-3
    assert loudness_at(tmp_path / "out.mp4", 0.8) == pytest.approx(0.8, abs=0.05)


def test_a_hole_is_left_out_of_picture_and_sound(animation, portrait, tmp_path):
    times = [n * 0.04 + (1.0 if n >= 10 else 0) for n in range(20)]
    driving = make_clip(tmp_path / "v.mov", times, sound_s=2.0)
    result = animate(animation, portrait, driving, tmp_path / "out.mp4")
    shown = driving_numbers(tmp_path / "out.mp4")
    assert [number for _, number in shown] == list(range(20))
    assert [time for time, _ in shown] == pytest.approx([n * 0.04 for n in range(20)], abs=1e-3)
    assert loudness_at(tmp_path / "out.mp4", 0.2) == pytest.approx(0.2, abs=0.05)
    assert loudness_at(tmp_path / "out.mp4", 0.6) == pytest.approx(1.6, abs=0.08)
    assert result.warnings == ("v.mov has 1 hole in its video, left out of picture and sound",)


def test_a_hole_takes_no_time_at_a_lower_rate_either(animation, portrait, tmp_path):
    times = [n * 0.04 + (1.0 if n >= 10 else 0) for n in range(20)]
    driving = make_clip(tmp_path / "v.mov", times, sound_s=2.0)
    result = animate(animation, portrait, driving, tmp_path / "out.mp4", fps=10)
    assert result.num_frames == 8
    for time, number in driving_numbers(tmp_path / "out.mp4"):
        assert number * 0.04 - 1e-3 <= time + 0.05 <= (number + 1) * 0.04 + 0.04
    assert loudness_at(tmp_path / "out.mp4", 0.6) == pytest.approx(1.6, abs=0.08)


def test_a_motion_file_keeps_the_times_of_its_clip(animation, portrait, tmp_path):
    driving = make_clip(tmp_path / "v.mov", PAUSED)
    write_motion(tmp_path / "v.motion", extract_motion(animation, driving))
    for name, way in (("clip.mp4", driving), ("motion.mp4", tmp_path / "v.motion")):
        animate(animation, portrait, way, tmp_path / name, side_by_side=False)
    one, other = (list(decode(tmp_path / name)) for name in ("clip.mp4", "motion.mp4"))
    assert [frame.pts_s for frame in one] == [frame.pts_s for frame in other]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))


def test_a_truncated_clip_is_animated_as_far_as_it_goes_with_a_warning(animation, portrait, tmp_path, caplog):
    driving = truncated(tmp_path)
    result = animate(animation, portrait, driving, tmp_path / "out.mp4")
    assert 0 < result.num_frames < 25
    (warning,) = result.warnings
    assert "v.mp4 is damaged or incomplete" in warning
    assert warning in caplog.text
    steps = [after - before for (before, _), (after, _) in pairwise(driving_numbers(tmp_path / "out.mp4"))]
    assert steps == pytest.approx([0.04] * len(steps), abs=1e-3)


def test_strict_refuses_a_truncated_clip(animation, portrait, tmp_path):
    with pytest.raises(UnreadableMediaError, match="pictures missing"):
        animate(animation, portrait, truncated(tmp_path), tmp_path / "out.mp4", strict=True)
    assert not (tmp_path / "out.mp4").exists()


def test_a_result_never_replaces_its_own_input(animation, portrait, tmp_path):
    driving = make_clip(tmp_path / "v.mp4", PAUSED)
    before = driving.read_bytes()
    for output in (driving, portrait):
        with pytest.raises(OptionsConflictError, match="as input and output"):
            animate(animation, portrait, driving, output)
    assert driving.read_bytes() == before


def truncated(folder):
    """Return the first half of a video that says at its beginning that it has 25 frames."""
    noise = np.random.default_rng(0).integers(0, 255, (25, 64, 64, 3), dtype=np.uint8)
    path = folder / "v.mp4"
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path
