"""Media with which a job could succeed and still be wrong, over real HTTP."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from preprocessing.media.video_reader import decode, probe
from tests.lia_model.serving.live import live
from tests.lia_model.serving.service import assert_refused
from tests.timed_clip import PAUSED, loudness_at, make_clip


@pytest.fixture
def service(tmp_path):
    with live(tmp_path) as service, service.running():
        yield service


def animated(service, driving, **fields):
    """Return the status of the ended job, and the times of its frames."""
    link = service.submit(driving=driving, **fields)
    done = service.ended(link)
    assert done["status"] == "succeeded", done
    path = service.root / "result.mp4"
    path.write_bytes(service.client.get(f"{link}/video").content)
    assert done["frames_done"] == done["frames_total"] == probe(path).num_frames
    return done, [frame.pts_s for frame in decode(path)]


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "avif"])
def test_an_animated_picture_drives_with_every_picture_at_its_own_time(service, kind):
    pictures = [Image.new("RGB", (40, 40), (level, level, level)) for level in (30, 90, 150, 210)]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": pictures[1:], "duration": [100, 300, 100, 100]}
    pictures[0].save(file, kind, **more)
    done, times_s = animated(service, (f"a.{kind}", file.getvalue()))
    assert times_s == pytest.approx([0, 0.1, 0.4, 0.5], abs=0.002)
    assert done["warnings"] == []


def write_video(path, times_s):
    """Return an mp4 of noise whose frames are shown at these times, with its index at the beginning."""
    noise = np.random.default_rng(0).integers(0, 255, (len(times_s), 64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for image, time_s in zip(noise, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * time_s)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_a_truncated_video_is_told_in_the_status_or_refused_if_strict(service, tmp_path):
    whole = write_video(tmp_path / "whole.mp4", [n / 25 for n in range(25)])
    truncated = ("b.mp4", whole[: len(whole) // 2])
    done, times_s = animated(service, truncated)
    assert 0 < len(times_s) < 25
    (warning,) = done["warnings"]
    assert warning.startswith("driving is damaged or incomplete: ")
    refused = service.ended(service.submit(driving=truncated, strict="true"))
    assert (refused["status"], refused["error"]["code"]) == ("failed", "unreadable_media")
    assert "missing" in refused["error"]["message"]
    assert animated(service, ("b.mp4", whole))[0]["warnings"] == []


def test_a_video_of_variable_rate_keeps_its_times_and_a_constant_rate_is_one(service, tmp_path):
    phone = ("b.mp4", write_video(tmp_path / "phone.mp4", PAUSED))
    _, times_s = animated(service, phone)
    assert times_s == pytest.approx(PAUSED, abs=0.002)
    _, times_s = animated(service, phone, fps="25")
    assert times_s == pytest.approx([n / 25 for n in range(len(times_s))], abs=0.002)
    assert len(times_s) == pytest.approx(25 * (PAUSED[-1] + 0.04), abs=1)


@pytest.mark.parametrize("fields", [{}, {"fps": "25"}, {"fps": "30"}])
def test_a_video_of_variable_rate_keeps_its_sound_within_one_frame(service, tmp_path, fields):
    phone = make_clip(tmp_path / "phone.mov", PAUSED, sound_s=1.1)
    animated(service, ("phone.mov", phone.read_bytes()), **fields)
    for time_s in (0.2, 0.5, 0.8):
        assert loudness_at(service.root / "result.mp4", time_s) == pytest.approx(time_s, abs=0.04)


@pytest.mark.parametrize("field", ["paste-back", "Face", "crops", "batch"])
def test_a_field_that_does_not_exist_is_refused_by_name(service, field):
    answer = service.post(**{field: "true"})
    assert_refused(answer, 422, "bad_field", f"{field}: there is no such field; allowed are crop, ")
    item = {"source": "a.png", "driving": "a.png", field: "true"}
    answer = service.client.post("/v1/batches", json={"items": [item], "output": "out"})
    assert_refused(answer, 422, "bad_field", f"items.0.{field}")


def test_a_field_that_comes_twice_is_refused(service):
    assert_refused(service.post(face=["1", "2"]), 422, "bad_field", "face: got 2 values; send one")


def test_a_query_parameter_that_does_not_exist_is_refused(service):
    for path, name, words in (
        ("/v1/animations?stat=failed", "stat", "allowed are limit, status, before"),
        ("/healthz?verbose=1", "verbose", "none is allowed here"),
    ):
        assert_refused(service.client.get(path), 422, "bad_field", f"{name}: there is no such query", words)
    files = {"source": b"x", "driving": b"x"}
    answer = service.client.post("/v1/animations?face=2", files=files)
    assert_refused(answer, 422, "bad_field", "face: there is no such query parameter; none is allowed here")
