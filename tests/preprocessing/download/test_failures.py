import errno

import pytest
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import DownloadError, ExtractorError, PostProcessingError

from preprocessing.download.failures import classify
from preprocessing.outcome import DownloadStatus


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
