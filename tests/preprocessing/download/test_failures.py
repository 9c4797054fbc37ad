import errno
import io

import pytest
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import DownloadError, ExtractorError, PostProcessingError

from preprocessing.download.failures import classify, is_forbidden
from preprocessing.outcome import DownloadStatus


def response(status):
    return Response(io.BytesIO(), "http://a.org/v.mp4", {}, status)


def test_a_403_is_permanent_only_with_a_message_of_the_site():
    refused = HTTPError(response(403))
    plain = ExtractorError("Unable to download webpage", cause=refused, expected=True)
    assert (classify(refused), classify(plain)) == (DownloadStatus.RETRYABLE, DownloadStatus.RETRYABLE)
    assert is_forbidden(DownloadError("x", (type(plain), plain, None)))
    for words, status in (
        ("This video is private", DownloadStatus.PERMANENT),
        ("Got HTTP Error 403 caused by Cloudflare anti-bot challenge", DownloadStatus.STOP_THE_QUEUE),
    ):
        said = ExtractorError(words, expected=True)
        said.__context__ = plain
        assert classify(DownloadError("x", (type(said), said, None))) == status
    assert classify(HTTPError(response(404))) == DownloadStatus.PERMANENT
    assert not is_forbidden(HTTPError(response(404)))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "full"), DownloadStatus.ENVIRONMENT),
        (PostProcessingError("ffmpeg not found"), DownloadStatus.ENVIRONMENT),
        (TransportError("reset"), DownloadStatus.RETRYABLE),
        (ExtractorError("private video", expected=True), DownloadStatus.PERMANENT),
        (
            ExtractorError("Sign in to confirm you're not a bot", expected=True),
            DownloadStatus.STOP_THE_QUEUE,
        ),
        (ExtractorError("Sign in to confirm your age", expected=True), DownloadStatus.PERMANENT),
        (ExtractorError("the site has changed"), DownloadStatus.RETRYABLE),
    ],
)
def test_an_error_is_classified_by_its_cause_however_it_is_wrapped(error, status):
    assert classify(error) == status
    assert classify(DownloadError("x", (type(error), error, None))) == status
