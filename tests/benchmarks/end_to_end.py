"""File to file: a driving video in, an animated video out, against the model alone on the same frames."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lia_model.animation.file import AnimationRequest, animate_file
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.data.pixels import to_bytes, to_float
from lia_model.inference import InferenceModel
from preprocessing.media.images import read_image
from preprocessing.media.video_reader import decode
from preprocessing.media.video_writer import VideoWriter
from tests.benchmarks.apart import Apart
from tests.benchmarks.model import DTYPES, calmed_generator
from tests.benchmarks.published_formulation import PublishedFormulation
from tests.benchmarks.timing import Row, by_turns
from tests.puppets import draw_identity, draw_motion, render, render_clip

FPS = Fraction(25)


def measure(
    size_px: int, num_frames: int, precision: str, num_rounds: int, device: torch.device
) -> Iterator[Row]:
    """Time the animation of a puppet's photo by a puppet's video, both of the network's size."""
    generator = calmed_generator(size_px).to(device)
    animator = Animator(generator, str(device), precision)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        _write_inputs(folder, size_px, num_frames)
        request = AnimationRequest(folder / "source.png", folder / "driving.mp4", folder / "ours.mp4")
        frames = to_float(np.stack([frame.image for frame in decode(request.driving)])).to(device)
        source = to_float(read_image(request.source)[None]).to(device)
        model = InferenceModel(generator, DTYPES[precision]).to(device)
        published = Apart(build_published, request, size_px, str(device))
        stack.callback(published.close)
        candidates = {
            "ours": lambda: animate_file(AnimationRun(animator, None), request),
            "model alone": lambda: _model_alone(model, source, frames),
            "published": published,
        }
        seconds = by_turns(candidates, num_rounds, device)
    per_frame = {name: [each / num_frames for each in times] for name, times in seconds.items()}
    yield Row("end to end", f"{size_px} px, {num_frames} frames, {precision}", per_frame)


def _write_inputs(folder: Path, size_px: int, num_frames: int) -> None:
    rng = np.random.default_rng(0)
    one, other = draw_identity(rng), draw_identity(rng)
    Image.fromarray(render(one, draw_motion(rng, 1)[0], size_px)).save(folder / "source.png")
    with VideoWriter(folder / "driving.mp4", FPS, (size_px, size_px)) as video:
        for image in render_clip(other, draw_motion(rng, num_frames), size_px):
            video.write(image)


@torch.inference_mode()
def _model_alone(model: InferenceModel, source: torch.Tensor, frames: torch.Tensor) -> None:
    code, features = model.encode(source)
    own = model.weigh(code)
    offset = own - model.weigh(model.encode(frames[:1])[0])
    for chunk in frames.split(16):
        model(chunk, code, features, offset)


def build_published(request: AnimationRequest, size_px: int, device: str) -> Callable[[], object]:
    """Return a function that decodes all, animates frame by frame in fp32, and encodes all."""
    plain = PublishedFormulation(calmed_generator(size_px).to(device))

    @torch.no_grad()
    def run() -> None:
        source = to_float(read_image(request.source)[None]).to(device)
        frames = [to_float(frame.image[None]).to(device) for frame in decode(request.driving)]
        start = plain.weights(plain.encode(frames[0])[0])
        results = [plain(source, frame, start) for frame in frames]
        with VideoWriter(request.output.with_name("published.mp4"), FPS, (size_px, size_px)) as video:
            for result in results:
                video.write(to_bytes(result)[0])

    return run
