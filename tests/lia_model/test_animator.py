import copy
import subprocess
import sys
from itertools import count

import numpy as np
import pytest
import torch

from lia_model.animator import Animator, require_picture
from lia_model.checkpoints.directory import save_generator
from lia_model.data.pixels import to_bytes, to_float
from lia_model.device.host_copies import num_ahead


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def animator(generator):
    return Animator(generator, precision="fp32")


@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_frames_equal_the_generators_at_any_batch_size(animator, frames, mode):
    generator = animator.generator
    with torch.inference_mode():
        source, driving = to_float(frames[:1]), to_float(frames)
        start = generator.motion_weights(driving[:1]) if mode == "relative" else None
        wanted = torch.cat([generator(source, frame[None], start) for frame in driving])
    for batch_size in (1, 3, 16):
        got = np.stack(list(animator.animate(frames[0], iter(frames), mode, batch_size)))
        difference = np.abs(got.astype(int) - to_bytes(wanted).astype(int))
        assert difference.max() <= 1


def test_driving_frames_are_read_at_most_one_batch_ahead(animator, frames):
    taken = []

    def driving():
        for number, frame in enumerate(frames):
            taken.append(number)
            yield frame

    next(iter(animator.animate(frames[0], driving(), batch_size=3)))
    assert taken == [0, 1, 2]


def started_and_read(animator, use):
    """Run `use`; return in order when a batch was started and when the host waited for one."""
    events, starts, fetch = [], count(), animator._fetch

    def watched(x):
        number, finish = next(starts), fetch(x)
        events.append(("start", number))
        return lambda: events.append(("read", number)) or finish()

    animator._fetch = watched
    assert list(use())
    return events


@pytest.mark.parametrize("source_is_video", [False, True])
def test_on_a_gpu_the_host_starts_a_batch_before_it_reads_the_last(animator, frames, source_is_video):
    motion = list(animator.motion_weights(frames))
    wanted = list(animator.synthesize(frames, motion, batch_size=2))
    animator._num_ahead = num_ahead(torch.device("cuda"))
    source = frames if source_is_video else frames[0]
    for use in (
        lambda: animator.motion_weights(frames, 2),
        lambda: animator.synthesize(source, motion, batch_size=2),
    ):
        events = started_and_read(animator, use)
        assert [kind for kind, _ in events] == ["start", *["start", "read"] * 3, "read"]
    got = list(animator.synthesize(frames, motion, batch_size=2))
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_a_source_video_is_animated_frame_by_frame(animator, frames, mode):
    """Relative: a_driving(t) - a_start + a_source(t)."""
    generator, driving = animator.generator, frames[::-1]
    with torch.inference_mode():
        start = generator.motion_weights(to_float(driving[:1])) if mode == "relative" else None
        wanted = torch.cat(
            [
                generator(to_float(one[None]), to_float(other[None]), start)
                for one, other in zip(frames, driving, strict=True)
            ]
        )
    for batch_size in (2, 16):
        got = np.stack(list(animator.animate(iter(frames), driving, mode, batch_size)))
        assert np.abs(got.astype(int) - to_bytes(wanted).astype(int)).max() <= 1


def test_output_ends_with_the_shorter_of_source_and_driving(animator, frames):
    assert len(list(animator.animate(frames[:3], frames))) == 3
    assert len(list(animator.animate(frames, frames[:4]))) == 4


@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_running_both_stages_separately_gives_the_same_frames(animator, frames, mode):
    motion = list(animator.motion_weights(frames, batch_size=3))
    assert [weights.shape for weights in motion] == [(4,)] * 7
    start = motion[0] if mode == "relative" else None
    apart = np.stack(list(animator.synthesize(frames[3], motion, start)))
    together = np.stack(list(animator.animate(frames[3], frames, mode, batch_size=3)))
    assert np.abs(apart.astype(int) - together.astype(int)).max() <= 1


def test_relative_motion_may_start_at_another_frame(animator, frames):
    motion = list(animator.motion_weights(frames))
    moved = list(animator.synthesize(frames[0], motion, start=motion[5]))
    still = next(animator.synthesize(frames[0], [motion[0]]))
    own_pose = np.abs(moved[5].astype(int) - still.astype(int))
    assert own_pose.max() <= 1
    assert np.abs(moved[0].astype(int) - still.astype(int)).max() > 1


def test_empty_driving_gives_no_frames(animator, frames):
    assert list(animator.animate(frames[0], [])) == []


def test_the_fingerprint_differs_between_models_and_survives_saving(generator, tmp_path):
    own = Animator(generator).fingerprint
    assert len(own) == 64
    save_generator(tmp_path / "model", generator)
    assert Animator.load(tmp_path / "model").fingerprint == own
    other = copy.deepcopy(generator)
    with torch.no_grad():
        next(other.parameters())[0] += 1e-3
    assert Animator(other).fingerprint != own


@pytest.mark.parametrize("side", [48, 16, 64])
def test_images_of_a_wrong_size_are_refused_with_the_expected_size(generator, side):
    with pytest.raises(ValueError, match=f"got images of {side}x{side} px; this network takes 32x32 px"):
        generator(torch.zeros(1, 3, side, side))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 3), np.float32),
        np.zeros((0, 32, 3), np.uint8),
    ],
)
def test_an_image_that_is_not_uint8_rgb_is_refused(image):
    with pytest.raises(ValueError, match=r"must be uint8 RGB \[H, W, 3\]"):
        require_picture(image)


def test_images_of_any_size_are_resized(animator):
    source = np.zeros((50, 40, 3), np.uint8)
    driving = np.zeros((2, 90, 90, 3), np.uint8)
    assert [frame.shape for frame in animator.animate(source, driving)] == [(32, 32, 3)] * 2


def test_half_precision_stays_close(generator, frames):
    exact = np.stack(list(Animator(generator, precision="fp32").animate(frames[0], frames)))
    half = np.stack(list(Animator(generator, precision="bf16").animate(frames[0], frames)))
    assert half.dtype == np.uint8
    assert np.abs(half.astype(int) - exact.astype(int)).mean() < 3


def test_a_saved_model_animates_from_its_directory(generator, frames, tmp_path):
    save_generator(tmp_path / "model", generator)
    animator = Animator.load(tmp_path / "model", device="cpu", precision="fp32")
    assert animator.size_px == 32
    assert len(list(animator.animate(frames[0], frames))) == 7


def test_an_error_names_the_missing_model(tmp_path):
    with pytest.raises(ValueError, match="neither a directory nor models:/NAME@ALIAS"):
        Animator.load(tmp_path / "nothing")


def test_the_core_imports_with_torch_alone():
    hidden = ["ray", "mlflow", "prefect", "av", "cv2", "insightface", "PIL", "pyarrow", "webdataset", "yaml"]
    core = ["animator", "data.sharded_clips", "checkpoints.directory", "losses.terms", "training.loop"]
    program = f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))\n" + "\n".join(
        f"import lia_model.{module}" for module in core
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_cuda_graphs_need_cuda(generator):
    with pytest.raises(ValueError, match="it needs CUDA: use 'inductor' or 'none'"):
        Animator(generator, precision="fp32", compilation="cuda-graphs")


@pytest.mark.parametrize(("rule", "is_cut"), [("body", True), ("none", True), ("fomm_square", False)])
def test_of_whole_pictures_a_model_of_no_faces_sees_the_middle_square(generator, tmp_path, rule, is_cut):
    record = {"rule": rule, "scale": 1.2, "outside": "pad"}
    save_generator(tmp_path / "model", generator, {"crop": record})
    animator = Animator.load(tmp_path / "model", precision="fp32")
    assert animator.crop.model_dump() == record
    wide = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    middle = np.ascontiguousarray(wide[:, :, 8:40])
    got, wanted = (list(animator.animate(some[0], some)) for some in (wide, middle))
    assert np.array_equal(got, wanted) == is_cut
