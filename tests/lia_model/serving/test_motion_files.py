"""A motion file drives over HTTP and in batches as it does on the command line."""

from fractions import Fraction

import numpy as np
import pytest

from lia_model.animation.driving import extract_motion
from lia_model.animation.motion_file import Motion, write_motion
from lia_model.animation.run import AnimationRun
from preprocessing.media.video_reader import decode
from tests.lia_model.serving.live import NUM_FRAMES, live, tiny_animator, write_clip
from tests.lia_model.serving.service import MEDIA, assert_refused, png


@pytest.fixture(scope="module")
def animator():
    return tiny_animator()


@pytest.fixture
def motion(animator, tmp_path):
    path = tmp_path / "clip.safetensors"
    write_motion(path, extract_motion(AnimationRun(animator, None), write_clip(tmp_path / "clip.mp4")))
    return path


def pictures(path):
    return np.stack([frame.image for frame in decode(path)])


def test_an_uploaded_motion_file_drives_as_its_clip_does(animator, motion, tmp_path):
    with live(tmp_path) as service, service.running(animator=animator):
        made = []
        for driving in (motion, tmp_path / "clip.mp4"):
            link = service.submit(driving=(driving.name, driving.read_bytes()))
            assert service.ended(link)["status"] == "succeeded"
            answer = service.client.get(f"{link}/video")
            (tmp_path / "made.mp4").write_bytes(answer.content)
            made.append(pictures(tmp_path / "made.mp4"))
        assert len(made[0]) == NUM_FRAMES
        np.testing.assert_array_equal(*made)


def test_a_motion_file_drives_an_item_of_a_batch(animator, motion, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    item = {"source": "a.png", "driving": motion.name, "crop": False, "directions": "2", "size_px": 16}
    with live(tmp_path) as service, service.running(animator=animator):
        answer = service.client.post("/v1/batches", json={"items": [item], "output": "out"})
        assert answer.status_code == 202, answer.text
        status = service.ended(answer.json()["links"]["self"])
        assert status["counts"]["succeeded"] == 1, status
    assert pictures(tmp_path / "out" / "00000.mp4").shape == (NUM_FRAMES, 16, 16, 3)


def test_motion_is_no_portrait_and_has_limits(motion, tmp_path):
    with live(tmp_path) as service:
        answer = service.post(source=(motion.name, motion.read_bytes()))
        assert_refused(answer, 415, "wrong_type", "source: the file holds motion and no picture")
        damaged = service.post(driving=("m.safetensors", motion.read_bytes()[:-100]))
        assert_refused(damaged, 400, "unreadable_media", "driving: got m.safetensors, a damaged")
        weights = np.zeros((MEDIA.max_num_frames + 1, 4), np.float32)
        write_motion(motion, Motion(weights, Fraction(25), False, "any", None))
        refused = service.post(driving=(motion.name, motion.read_bytes()))
        assert_refused(refused, 413, "too_large", "driving: got more than 100 frames")


def test_the_motion_of_another_model_fails_the_job_with_the_reason(motion, tmp_path):
    write_motion(motion, Motion(np.zeros((3, 4), np.float32), Fraction(25), False, "f" * 64, None))
    with live(tmp_path) as service, service.running():
        error = service.ended(service.submit(driving=(motion.name, motion.read_bytes())))["error"]
    assert error["code"] == "unreadable_media"
    assert "the motion of another model" in error["message"]
    assert str(tmp_path) not in error["message"]
