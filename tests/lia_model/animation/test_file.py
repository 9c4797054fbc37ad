import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from lia_model.animation.file import AnimationRequest, animate_file
from lia_model.animation.footage import UnreadableMediaError, first_picture
from lia_model.animation.framing import NoFaceError
from lia_model.animation.options import AnimationOptions, OptionsConflictError
from lia_model.animation.run import AnimationRun, StoppedError
from preprocessing.media.video_reader import decode, probe
from tests.lia_model.animation.small_model import SIZE

NTSC = Fraction(30000, 1001)


def test_the_result_has_the_driving_clips_frames_and_exact_rate(animator, portrait, driving, tmp_path):
    output = tmp_path / "out.mp4"
    seen = []
    result = animate_file(
        AnimationRun(animator, None, batch_size=4, progress=lambda *at: seen.append(at)),
        AnimationRequest(portrait, driving, output),
    )
    info = probe(output)
    assert (result.num_frames, result.fps) == (9, NTSC)
    assert (info.num_frames, info.fps, info.width_px, info.height_px) == (9, NTSC, SIZE, SIZE)
    assert seen == [(done, 9) for done in range(10)]


def test_faces_are_framed_and_sound_is_kept(animator, cropper, face_clip, tmp_path):
    output = tmp_path / "out.mp4"
    animate_file(
        AnimationRun(animator, cropper),
        AnimationRequest(face_clip, face_clip, output, AnimationOptions(mode="absolute")),
    )
    info = probe(output)
    assert (info.num_frames, info.fps, info.audio_codec is not None) == (7, 24, True)


def test_cropping_changes_what_the_model_sees(animator, cropper, face_clip, tmp_path):
    with_crop, without = tmp_path / "crop.mp4", tmp_path / "whole.mp4"
    animate_file(AnimationRun(animator, cropper), AnimationRequest(face_clip, face_clip, with_crop))
    animate_file(AnimationRun(animator, None), AnimationRequest(face_clip, face_clip, without))
    first, second = (next(decode(path)).image.astype(int) for path in (with_crop, without))
    assert np.abs(first - second).mean() > 1


@pytest.mark.parametrize("role", ["source", "driving"])
def test_a_missing_face_is_told_with_the_files_role_and_name(
    animator, cropper, portrait, face_clip, role, tmp_path
):
    files = {"source": face_clip, "driving": face_clip} | {role: portrait}
    output = tmp_path / "out.mp4"
    with pytest.raises(NoFaceError, match=f"{role} file portrait.png"):
        animate_file(
            AnimationRun(animator, cropper), AnimationRequest(files["source"], files["driving"], output)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_still_drives_one_frame_and_relative_mode_warns_that_it_cancels_itself(
    animator, portrait, driving, tmp_path, caplog
):
    for mode, num_warnings in (("absolute", 0), ("relative", 1)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            result = animate_file(
                AnimationRun(animator, None),
                AnimationRequest(portrait, portrait, tmp_path / "out.mp4", AnimationOptions(mode=mode)),
            )
        assert result.num_frames == 1
        assert len(caplog.records) == num_warnings


@pytest.mark.parametrize("role", ["source", "driving"])
def test_a_file_that_is_no_media_is_named(animator, portrait, driving, role, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    files = {"source": portrait, "driving": driving} | {role: text}
    with pytest.raises(UnreadableMediaError, match=r"notes\.txt"):
        animate_file(
            AnimationRun(animator, None),
            AnimationRequest(files["source"], files["driving"], tmp_path / "out.mp4"),
        )


def test_a_driving_clip_that_breaks_off_gives_no_result(animator, cropper, portrait, samples, tmp_path):
    broken = tmp_path / "broken.mp4"
    whole = (samples / "single_face.mp4").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableMediaError):
        animate_file(AnimationRun(animator, None), AnimationRequest(portrait, broken, tmp_path / "out.mp4"))
    assert not (tmp_path / "out.mp4").exists()


def test_stopping_leaves_nothing_behind(animator, portrait, driving, tmp_path):
    calls = iter([False, False, True])
    with pytest.raises(StoppedError):
        animate_file(
            AnimationRun(animator, None, batch_size=1, should_stop=lambda: next(calls)),
            AnimationRequest(portrait, driving, tmp_path / "out.mp4"),
        )
    assert list(tmp_path.iterdir()) == []


def frames_of(path):
    return np.stack([frame.image for frame in decode(path)]).astype(int)


def run(animator, cropper, source, driving, output, **options):
    fields = {name: options.pop(name) for name in list(options) if name in AnimationOptions.model_fields}
    request_only = {name: options.pop(name) for name in list(options) if name == "convert"}
    request = AnimationRequest(source, driving, output, AnimationOptions(**fields), **request_only)
    result = animate_file(AnimationRun(animator, cropper, **options), request)
    frames = frames_of(output)
    assert len(frames) == result.num_frames
    return frames


def require_playable(path, num_frames, fps, has_sound, size):
    """What every player takes: H.264 in yuv420p with even sides, evenly timed, and AAC."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.codec_context.width, stream.codec_context.height) == size
        assert not any(side % 2 for side in size)
        frames = list(container.decode(stream))
        assert {frame.format.name for frame in frames} == {"yuv420p"}
        assert [frame.pts * frame.time_base for frame in frames] == [
            n / Fraction(fps) for n in range(num_frames)
        ]
        assert stream.average_rate == fps
    with av.open(str(path)) as container:
        assert bool(container.streams.audio) == has_sound
        if has_sound:
            assert container.streams.audio[0].codec_context.name == "aac"
            sound = list(container.decode(container.streams.audio[0]))
            lasts_s = sum(frame.samples for frame in sound) / sound[0].sample_rate
            assert abs(lasts_s - num_frames / fps) < 0.15
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")


MODES = {
    "absolute": ({"mode": "absolute"}, (SIZE, SIZE)),
    "relative": ({}, (SIZE, SIZE)),
    "best start": ({"start": "best"}, (SIZE, SIZE)),
    "paste back": ({"paste_back": True}, (636, 352)),
    "side by side": ({"side_by_side": True}, (3 * SIZE, SIZE)),
    "both": ({"paste_back": True, "side_by_side": True}, (2 * 635 + 351 + 1, 352)),
    "all faces": ({"face": "all", "paste_back": True}, (636, 352)),
    "first face": ({"face": 1}, (SIZE, SIZE)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_makes_a_file_that_players_accept(animator, cropper, photo, face_clip, name, tmp_path):
    options, size = MODES[name]
    run(animator, cropper, photo, face_clip, tmp_path / "out.mp4", **options)
    require_playable(tmp_path / "out.mp4", 7, 24, True, size)


def test_every_kind_of_source_and_driving_makes_a_file_that_players_accept(
    animator, cropper, photo, face_clip, motion_file, tmp_path
):
    output = tmp_path / "out.mp4"
    kinds = [
        (photo, motion_file, 7, 24, False),
        (photo, photo, 1, 25, False),
        (face_clip, face_clip, 7, 24, True),
        (face_clip, motion_file, 7, 24, False),
        (face_clip, photo, 7, 24, True),
    ]
    for source, driving, num_frames, fps, has_sound in kinds:
        run(animator, cropper, source, driving, output, mode="absolute")
        require_playable(output, num_frames, fps, has_sound, (SIZE, SIZE))


def test_the_best_start_is_the_frame_most_like_the_source(animator, driving, written, tmp_path):
    """The source is the driving clip's own sixth frame: from there on, nothing is added to its pose."""
    picture = list(decode(driving))[5].image
    Image.fromarray(picture).save(tmp_path / "source.png")
    for options in ({"start": "best"}, {"mode": "absolute"}, {}):
        run(animator, None, tmp_path / "source.png", driving, tmp_path / "out.mp4", **options)
    best, absolute, first = np.stack(written).astype(float).reshape(3, -1)
    assert np.abs(best - absolute).mean() < 0.5 < np.abs(first - absolute).mean()


def test_side_by_side_shows_source_driving_and_result(animator, portrait, driving, tmp_path):
    alone = run(animator, None, portrait, driving, tmp_path / "alone.mp4", batch_size=4)
    wide = run(animator, None, portrait, driving, tmp_path / "w.mp4", batch_size=4, side_by_side=True)
    source, seen, result = np.split(wide, 3, axis=2)
    assert np.abs(result - alone).mean() < 4
    assert np.abs(source - source[:1]).mean() < 4
    lit = (seen > 100).any(axis=(1, 3))
    assert (np.argmax(lit, axis=1)[1:] >= np.argmax(lit, axis=1)[:-1]).all()
    assert np.argmax(lit[8]) > np.argmax(lit[0])


def test_a_source_videos_frames_meet_the_driving_frames_of_the_same_number(animator, driving, tmp_path):
    wide = run(animator, None, driving, driving, tmp_path / "w.mp4", batch_size=4, side_by_side=True)
    source, seen, _ = np.split(wide, 3, axis=2)
    assert np.abs(source - seen).mean() < 2 < np.abs(source - seen[::-1]).mean()


@pytest.mark.parametrize("is_video", [True, False])
def test_pasting_back_changes_the_square_alone(animator, cropper, photo, face_clip, is_video, tmp_path):
    source = face_clip if is_video else photo
    frames = run(animator, cropper, source, face_clip, tmp_path / "out.mp4", paste_back=True)
    height, width = first_picture(source).shape[:2]
    frames = frames[:, :height, :width]
    difference = np.abs(frames[0] - first_picture(source).astype(int)).mean(axis=2)
    face = cropper.find(first_picture(source))[0]
    x, y = (round(at) for at in face.centre)
    assert difference[y, x] > 5
    outside = np.ones(difference.shape, bool)
    reach = round(face.height)
    outside[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach] = False
    assert outside.any()
    assert difference[outside].mean() < 3


def test_without_cropping_the_middle_square_is_put_back(animator, driving, tmp_path):
    Image.new("RGB", (64, 100), (200, 120, 60)).save(tmp_path / "plain.png")
    frames = run(animator, None, tmp_path / "plain.png", driving, tmp_path / "out.mp4", paste_back=True)
    assert frames.shape == (9, 100, 64, 3)
    changed = np.abs(frames[0] - (200, 120, 60)).mean(axis=(1, 2))
    assert changed[:16].max() < 4
    assert changed[-16:].max() < 4
    assert changed[35:65].min() > 10


def test_source_and_driving_video_of_different_length_are_told_of_once(
    animator, driving, face_clip, tmp_path, caplog
):
    for source, other in ((driving, face_clip), (face_clip, driving)):
        caplog.clear()
        frames = run(animator, None, source, other, tmp_path / "out.mp4", batch_size=4)
        assert len(frames) == 7
        told = [record for record in caplog.records if "differ in length" in record.message]
        assert len(told) == 1
        assert told[0].message.endswith(face_clip.name)
    caplog.clear()
    run(animator, None, driving, driving, tmp_path / "out.mp4")
    assert caplog.records == []


def test_a_best_start_in_absolute_mode_is_told_of(animator, portrait, driving, tmp_path, caplog):
    run(animator, None, portrait, driving, tmp_path / "out.mp4", mode="absolute", start="best")
    assert ["start best has no effect" in record.message for record in caplog.records] == [True]


def test_each_face_is_moved_where_it_stands(animator, cropper, face_clip, tmp_path):
    """The picture twice, one beside the other."""
    picture = first_picture(face_clip)
    pair = np.concatenate([picture, picture], axis=1)
    Image.fromarray(pair).save(tmp_path / "pair.png")
    changed = {}
    for face in (1, 2, "all"):
        options = {"face": face, "paste_back": True}
        frames = run(animator, cropper, tmp_path / "pair.png", face_clip, tmp_path / "o.mp4", **options)
        halves = np.split(np.abs(frames[0] - pair.astype(int)).mean(axis=2), 2, axis=1)
        changed[face] = [bool(half.max() > 60) for half in halves]
    assert changed == {1: [True, False], 2: [False, True], "all": [True, True]}


def refusals(photo, face_clip, motion_file):
    return [
        (photo, face_clip, {"face": 2}, "got face 2, but the source shows 1"),
        (photo, face_clip, {"face": "all"}, "add paste_back"),
        (photo, motion_file, {"side_by_side": True}, "holds no pictures"),
        (face_clip, face_clip, {"face": 3}, "got face 3, but the source shows 1"),
    ]


def test_what_does_not_go_together_is_refused(animator, cropper, photo, face_clip, motion_file, tmp_path):
    for source, driving, options, reason in refusals(photo, face_clip, motion_file):
        with pytest.raises(ValueError, match=reason):
            run(animator, cropper, source, driving, tmp_path / "out.mp4", **options)
    with pytest.raises(ValueError, match="without crop, but only cropping detects faces"):
        run(animator, None, photo, face_clip, tmp_path / "out.mp4", face=1)
    assert list(tmp_path.iterdir()) == []


def test_a_square_of_the_source_is_animated_as_a_picture_of_it_alone(
    animator, cropper, photo, face_clip, tmp_path, written
):
    Image.fromarray(first_picture(photo)[30:130, 40:140]).save(tmp_path / "cut.png")
    whole = AnimationOptions(square="40:30:100", crop=False)
    cut = AnimationOptions(crop=False)
    run = AnimationRun(animator, cropper)
    animate_file(run, AnimationRequest(photo, face_clip, tmp_path / "a.mp4", whole))
    of_square = np.array(written)
    written.clear()
    animate_file(run, AnimationRequest(tmp_path / "cut.png", face_clip, tmp_path / "b.mp4", cut))
    np.testing.assert_array_equal(of_square, np.array(written))


def test_a_square_needs_no_face_in_the_source_and_must_touch_the_picture(
    animator, cropper, portrait, face_clip, tmp_path
):
    run = AnimationRun(animator, cropper)
    inside = AnimationRequest(portrait, face_clip, tmp_path / "a.mp4", AnimationOptions(square="-5:4:40"))
    assert animate_file(run, inside).num_frames == 7
    outside = AnimationRequest(portrait, face_clip, tmp_path / "b.mp4", AnimationOptions(square="40:0:40"))
    with pytest.raises(OptionsConflictError, match="40:0, outside the picture of 40x50 px: choose"):
        animate_file(run, outside)
