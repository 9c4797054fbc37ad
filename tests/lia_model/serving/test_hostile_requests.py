"""What an attacker may try against a server that listens on a real port."""

import io
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image

from lia_model.animation.media_check import MediaChecker
from tests.lia_model.serving.live import served
from tests.lia_model.serving.service import MEDIA, Service, assert_refused, png
from tests.peak_memory import forget_peak, peak_bytes


@pytest.fixture
def start(tmp_path):
    """A function that starts a service on a port of its own and returns a client of it."""
    with ExitStack() as servers:

        def start(**settings):
            service = Service(tmp_path, **settings)
            return service, servers.enter_context(served(service.api))

        yield start


@pytest.fixture
def checker():
    checker = MediaChecker(MEDIA.model_copy(update={"max_pixels": 50_000_000}))
    yield checker
    checker.close()


def empty_png(side_px):
    """Return a PNG of a few kilobytes whatever its size in pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side_px, side_px, 3), dtype=np.uint8)).save(buffer, "png", compress_level=9)
    return buffer.getvalue()


def test_pictures_are_never_decoded_in_the_process_that_answers(start, checker):
    _, client = start(check=checker.check)
    allowed, too_large = empty_png(7_000), empty_png(7_100)
    forget_peak()
    before = peak_bytes()
    answer = client.post("/v1/animations", files={"source": allowed, "driving": png()})
    assert answer.status_code == 202, answer.text
    answer = client.post("/v1/animations", files={"source": png(), "driving": too_large})
    assert_refused(answer, 413, "too_large", "driving: got pictures of 7100x7100 px", "at most 50000000")
    assert peak_bytes() - before < 60_000_000
