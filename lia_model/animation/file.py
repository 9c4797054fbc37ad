"""From files to a file: decode, crop, animate, compose, encode. Used by the command line and the service.

A driving video, image or motion file moves a photo, or a video frame by frame. Everything streams: a video is
decoded once to find its faces, once more for its pixels, and with `start` best once for its motion weights.
Axes: T frames, K directions, S side of the network's images.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, tee, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from lia_model.animation.compositing import paste, resize, side_by_side
from lia_model.animation.driving import (
    Driving,
    DrivingFrame,
    collect_motion,
    driving_frames,
    frame_driving,
    open_driving,
)
from lia_model.animation.footage import Footage, open_footage
from lia_model.animation.frame_rate import at_constant_rate
from lia_model.animation.motion_file import is_motion_file
from lia_model.animation.options import AnimationOptions, OptionsConflictError
from lia_model.animation.prefetch import prefetch
from lia_model.animation.provenance import provenance_tags
from lia_model.animation.run import AnimationRun
from lia_model.animation.subjects import MovedSource, Subject, aim, find_source
from lia_model.device.allocator import return_freed_memory
from lia_model.networks.relative_motion import hold_still, is_relative
from preprocessing.clips.crop import shows_faces
from preprocessing.media.images import cut
from preprocessing.media.video_writer import VideoWriter

logger = logging.getLogger(__name__)

NUM_PICTURES_AHEAD = 4
"""Finished pictures that wait for the encoder; whole photographs are large."""
NUM_FRAMES_PER_RETURN = 250
"""Frames after which freed memory is returned, so that a long video needs no more of it than a short one."""


@dataclass(frozen=True)
class AnimationRequest:
    """The files of one animation and its options."""

    source: Path
    """Portrait: an image, or a video whose t-th frame is moved by the t-th driving frame."""
    driving: Path
    """Whose motion: a video, a motion file, or an image, whose pose holds for all of a source video."""
    output: Path
    """The mp4 to write; an existing file is replaced when the new one is complete."""
    options: AnimationOptions = field(default_factory=AnimationOptions)
    convert: bool = True
    """Convert images that are not 8-bit RGB; False refuses them."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the mp4 beside those of its provenance."""


@dataclass(frozen=True)
class AnimationResult:
    """What was written."""

    num_frames: int
    fps: Fraction
    """Constant or usual rate."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the files: parts that are missing or damaged, holes that were left out, and what
    pictures lose by being converted."""


def animate_file(run: AnimationRun, request: AnimationRequest) -> AnimationResult:
    """Animate the source by the driving file: with its frames, each shown when it was there, and its sound.

    A shorter source video ends the result early; a source video driven by an image keeps its own frames,
    times and sound. Holes of a video are left out, of its sound too. What is missing of a damaged file is
    left out with a warning.

    Args:
        run: the model, how it is run, progress and stop.
        request: what to animate.

    Raises:
        NoFaceError: the source, or the whole driving clip, shows no face.
        UnreadableMediaError: one of the files cannot be used, or is damaged or truncated.
        NoSuchFaceError: the source shows fewer faces than the number of the one asked for.
        OptionsConflictError: the options contradict the files.
        StoppedError: the run was stopped; nothing was written.
    """
    options = request.options
    if not options.crop:
        run = replace(run, cropper=None)
    run = replace(run, decoding=replace(run.decoding, fps=options.output_fps, strict=options.strict))
    _check(request, run)
    num_directions = run.animator.generator.settings.num_directions
    follows = options.following(num_directions, run.direction_names)
    footage = open_footage(request.source, request.convert, run.decoding)
    driving = open_driving(request.driving, run, request.convert)
    _warn(options, footage, driving)
    led_by = footage if driving.is_still and not footage.is_still else driving
    run.progress(0, led_by.num_frames)
    source = find_source(footage, run, options)
    if follows is not None:
        source = replace(source, follows=np.array(follows))
    driving = frame_driving(driving, run)
    if is_relative(options.mode) and options.start == "best":
        driving = replace(driving, motion=collect_motion(driving, run))
    frames = driving_frames(driving, run, options.side_by_side)
    first = next(frames)
    subjects = [
        aim(run, source, number, driving, first.weights, options) for number in range(source.num_faces)
    ]
    moments = _pair_frames(run, source, driving, chain([first], frames))
    fps = options.output_fps or led_by.fps
    is_constant = options.output_fps is not None or led_by.has_constant_rate
    total = round(_num_frames(source, driving) * fps / led_by.fps)
    done = 0
    # The model computes in a thread of its own while this one encodes; a third one decodes.
    with closing(prefetch(_compose(run, source, subjects, moments, options), NUM_PICTURES_AHEAD)) as pictures:
        sample, start = next(pictures)
        timed = chain([(sample, start)], pictures)
        if options.output_fps is not None:
            timed = at_constant_rate(timed, fps, led_by.frame_s)
        size = (sample.shape[1], sample.shape[0])
        sound, hardware = led_by.sound, run.hardware_encoding
        tags = {**request.tags, **provenance_tags(run.model, run.animator.fingerprint, request.source)}
        with VideoWriter(request.output, fps, size, sound, hardware, led_by.segments, tags) as video:
            for picture, start in timed:
                video.write(picture, None if is_constant else start)
                done += 1
                run.progress(done, max(done, total))
                if done % NUM_FRAMES_PER_RETURN == 0:
                    return_freed_memory()
    warnings = tuple(_problems(footage, driving))
    for warning in warnings:
        logger.warning("%s", warning)
    return AnimationResult(done, fps, warnings)


class _FramePair(NamedTuple):
    """A driving frame and the source frame it moves."""

    start: Fraction
    """When the result is shown, in seconds."""
    driving: DrivingFrame
    picture: UInt8[np.ndarray, "H W 3"] | None
    """The source's frame; None if the source is a photo."""


def _check(request: AnimationRequest, run: AnimationRun) -> None:
    """Raise an OptionsConflictError where the options contradict the files."""
    options = request.options
    for path in (request.source, request.driving):
        if request.output.exists() and path.exists() and request.output.samefile(path):
            raise OptionsConflictError(f"got {path} as input and output: write to another file")
    if run.cropper is None and options.face != "largest":
        rule = run.animator.crop.rule
        raise OptionsConflictError(
            f"face is {options.face} without crop, but only cropping detects faces: leave out face, or crop"
            if shows_faces(rule)
            else f"face is {options.face}, but the model was trained with crop rule {rule}, which detects no "
            "faces: leave out face"
        )
    if options.side_by_side and is_motion_file(request.driving):
        raise OptionsConflictError(
            f"side_by_side with {request.driving}, a motion file, which holds no pictures: leave out "
            "side_by_side, or drive with the video"
        )


def _problems(source: Footage, driving: Driving) -> Iterator[str]:
    """Return what is wrong with the files, a line for each."""
    for footage in (source, driving.footage):
        if footage is None:
            continue
        if footage.is_still and footage.problems:
            yield f"{footage.path.name} has {' and '.join(footage.problems)}, lost in 8-bit RGB"
        elif footage.problems:
            yield f"{footage.path.name} is damaged or incomplete: {', '.join(footage.problems)}"
        if (num_holes := len(footage.segments) - 1) > 0:
            holes = "1 hole" if num_holes == 1 else f"{num_holes} holes"
            yield f"{footage.path.name} has {holes} in its video, left out of picture and sound"


def _warn(options: AnimationOptions, source: Footage, driving: Driving) -> None:
    """Log which options have no effect."""
    if driving.is_still and options.mode == "relative":
        logger.warning(
            "%s is one image: relative to itself it does not move, so the result has the source's own pose; "
            "use mode absolute to take its pose",
            driving.name,
        )
    elif options.start == "best" and options.mode == "absolute":
        logger.warning("start best has no effect in mode absolute, which has no starting frame: leave it out")
    if not source.is_still and not driving.is_still and source.fps != driving.fps:
        logger.warning(
            "%s has %.3f frames a second, %s has %.3f: frames are paired by number, at the latter's rate",
            source.path.name,
            float(source.fps),
            driving.name,
            float(driving.fps),
        )


def _num_frames(source: MovedSource, driving: Driving) -> int:
    """Return the expected number of frames of the result."""
    if source.footage.is_still:
        return driving.num_frames
    return source.num_frames if driving.is_still else min(source.num_frames, driving.num_frames)


def _pair_frames(
    run: AnimationRun, source: MovedSource, driving: Driving, motion: Iterator[DrivingFrame]
) -> Iterator[_FramePair]:
    """Pair the driving frames with the source's frames, if it is a video."""
    if source.footage.is_still:
        for moved in motion:
            yield _FramePair(moved.start, moved, None)
        return
    if driving.is_still:
        held = next(motion)
        for frame in run.until_stopped(source.footage.shown()):
            yield _FramePair(frame.start, held, frame.image)
        return
    for moved, picture in zip_longest(motion, source.footage.frames()):
        if moved is None or picture is None:
            shorter = driving.name if moved is None else source.footage.path.name
            logger.warning("source and driving clip differ in length: the result ends with %s", shorter)
            return
        yield _FramePair(moved.start, moved, picture)


def _compose(
    run: AnimationRun,
    source: MovedSource,
    subjects: Sequence[Subject],
    moments: Iterator[_FramePair],
    options: AnimationOptions,
) -> Iterator[tuple[UInt8[np.ndarray, "H W 3"], Fraction]]:
    """Yield the finished pictures with their times; the streams hold at most two batches of frames."""
    still = source.footage.first_frame() if source.footage.is_still else None
    moments, *streams = tee(moments, 1 + len(subjects))
    results = [
        _synthesize(run, subject, stream, still) for subject, stream in zip(subjects, streams, strict=True)
    ]
    for moment in moments:
        images = [next(result) for result in results]
        picture = still if moment.picture is None else moment.picture
        assert picture is not None
        result = images[0]
        if options.paste_back:
            result = picture
            for subject, image in zip(subjects, images, strict=True):
                result = paste(result, image, subject.square)
        if options.side_by_side:
            assert moment.driving.view is not None
            seen = picture if options.paste_back else cut(picture, subjects[0].square, run.size_px)
            result = side_by_side([seen, moment.driving.view, result])
        height, width = result.shape[:2]
        yield resize(result, *options.result_size(width, height)), moment.start


def _synthesize(
    run: AnimationRun,
    subject: Subject,
    moments: Iterator[_FramePair],
    still: UInt8[np.ndarray, "H W 3"] | None,
) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    """Yield one face's animation."""
    if still is not None:
        portrait = cut(still, subject.square, run.size_px)
        motion = (moment.driving.weights for moment in moments)
        if subject.follows is not None:
            motion = _followed(run, subject, subject.follows, motion, [portrait])
        return run.animator.synthesize(portrait, motion, subject.start, run.batch_size)
    moments, others = tee(moments)
    motion = (moment.driving.weights for moment in moments)
    pictures = (moment.picture for moment in others if moment.picture is not None)
    portraits = (cut(picture, subject.square, run.size_px) for picture in pictures)
    if subject.follows is not None:
        portraits, same = tee(portraits)
        motion = _followed(run, subject, subject.follows, motion, same)
    return run.animator.synthesize(portraits, motion, subject.start, run.batch_size)


def _followed(
    run: AnimationRun,
    subject: Subject,
    follows: Bool[np.ndarray, " K"],
    motion: Iterator[Float32[np.ndarray, " K"]],
    portraits: Iterable[UInt8[np.ndarray, "S S 3"]],
) -> Iterator[Float32[np.ndarray, " K"]]:
    """Yield the motion along the directions that follow it; along the others the source keeps its pose.

    Relative motion is what differs from its start. Of absolute motion the pose is that of each portrait, or
    of the only one.
    """
    poses = run.animator.motion_weights(portraits, run.batch_size)
    if subject.start is not None:
        poses = iter([subject.start])
    pose = None
    for weights in motion:
        pose = next(poses, pose)
        assert pose is not None
        yield hold_still(weights, pose, follows)
