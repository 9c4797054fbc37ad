import subprocess
import sys

import pytest

from preprocessing.sources.sites import _extractors, site_video, usual_spellings

VIDEO = "dQw4w9WgXcQ"
WATCH = f"https://www.youtube.com/watch?v={VIDEO}"


@pytest.mark.parametrize(
    "url",
    [
        WATCH,
        f"{WATCH}&t=3",
        f"{WATCH}&list=PLabc&index=2",
        f"http://youtube.com/watch?feature=share&v={VIDEO}",
        f"https://m.youtube.com/watch?v={VIDEO}",
        f"https://music.youtube.com/watch?v={VIDEO}&si=abc",
        f"https://youtu.be/{VIDEO}?si=abc",
        f"https://www.youtube.com/shorts/{VIDEO}",
        f"https://www.youtube.com/embed/{VIDEO}?start=3",
        f"https://www.youtube.com/live/{VIDEO}",
        f"https://www.youtube-nocookie.com/embed/{VIDEO}",
        *usual_spellings(WATCH),
    ],
)
def test_every_spelling_of_a_youtube_video_is_its_watch_url(url):
    assert site_video(url) == WATCH


@pytest.mark.parametrize(
    "spellings",
    [
        ("https://vimeo.com/123456?share=copy", "https://player.vimeo.com/video/123456"),
        ("https://www.dailymotion.com/video/x5kesuj", "https://dai.ly/x5kesuj"),
        ("https://x.com/a/status/123456", "https://mobile.twitter.com/b/status/123456?s=20"),
        ("https://www.tiktok.com/@a/video/1234567", "https://www.tiktok.com/embed/1234567"),
        ("https://www.facebook.com/watch/?v=1234567", "https://www.facebook.com/u/videos/1234567/"),
    ],
)
def test_the_spellings_of_another_sites_video_have_one_text(spellings):
    (text,) = {site_video(url) for url in spellings}
    assert text is not None


def test_parts_that_select_another_video_stay_apart():
    page = "https://www.bilibili.com/video/BV1xx411c7mD"
    assert len({site_video(url) for url in (page, f"{page}?p=2", f"{page}?p=3")}) == 3
    status = "https://x.com/a/status/123456"
    assert len({site_video(f"{status}/video/{number}") for number in (1, 2)}) == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8790/v.mp4",
        "http://localhost/v.mp4",
        "https://a.example/watch?v=dQw4w9WgXcQ",
        "https://www.youtube.com/watch?v=short",
        "https://www.youtube.com/playlist?list=PLdQw4w9WgXcQ",
        "https://archive.org/download/item/a.mp4",
    ],
)
def test_other_urls_are_no_sites_video(url):
    assert site_video(url) is None
    assert usual_spellings(url) == ()


def test_yt_dlp_is_not_imported_for_addresses_on_this_machine():
    program = (
        "import sys; from preprocessing.sources.source import source_key; "
        "source_key('http://127.0.0.1:8790/v.mp4'); source_key('file:///v.mp4'); "
        "print('yt_dlp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_few_patterns_are_matched_for_a_host_however_short_its_name():
    for host in ("a.org", "v.redd.it", "x.com", "cdn.example.com"):
        assert len(_extractors(host)) < 300
