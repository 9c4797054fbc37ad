import errno
import io

import pytest
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, PostProcessingError

from preprocessing.download.failures import absence_of, classify, is_forbidden
from preprocessing.outcome import Absence, DownloadStatus


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
        (HTTPError(response(407)), DownloadStatus.ENVIRONMENT),
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


def said(words):
    return ExtractorError(f"[youtube] abc: {words}", expected=True)


@pytest.mark.parametrize(
    ("error", "absence"),
    [
        (said("Video unavailable. This video has been removed by the uploader"), Absence.REMOVED),
        (said("Video unavailable. This video is no longer available because the account has been terminated"),
         Absence.REMOVED),
        (said("Video unavailable"), Absence.REMOVED),
        (said("Private video. Sign in if you've been granted access to this video"), Absence.PRIVATE),
        (said("Join this channel to get access to members-only content"), Absence.PRIVATE),
        (said("Sign in to confirm your age. This video may be inappropriate for some users"),
         Absence.AGE_RESTRICTED),
        (said("The uploader has not made this video available in your country"), Absence.BLOCKED),
        (GeoRestrictedError("not here", countries=["AQ"]), Absence.BLOCKED),
        (HTTPError(response(404)), Absence.REMOVED),
        (HTTPError(response(410)), Absence.REMOVED),
        (HTTPError(response(451)), Absence.BLOCKED),
        (HTTPError(response(503)), None),
        (said("Sign in to confirm you're not a bot. This content isn't available"), None),
        (TransportError("reset"), None),
    ],
)  # fmt: skip
def test_why_a_video_is_not_given_out_is_told_apart_however_it_is_wrapped(error, absence):
    assert absence_of(error) == absence
    assert absence_of(DownloadError("x", (type(error), error, None))) == absence
