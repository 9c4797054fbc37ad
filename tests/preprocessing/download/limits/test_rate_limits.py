import json
import threading
import time

import pytest

from preprocessing.download.limits.host_limits import HOUR_S
from preprocessing.download.limits.local_limits import LocalLimits
from preprocessing.download.limits.rate_limits import RateLimitedQueue, host_of


@pytest.fixture
def make_queue(tmp_path, download_settings, make_source):
    def make(urls, **changes):
        logged = []
        settings = download_settings.model_copy(update={"host_pause_s": 0.1, "max_host_pauses": 2} | changes)
        sources = [make_source(url) for url in urls]
        limits = LocalLimits(tmp_path / "hosts.json")
        queue = RateLimitedQueue(sources, settings, limits, lambda *words: logged.append(words))
        return queue, logged

    return make


def take(queue):
    """Take a source; None at the end."""
    taken = queue.take()
    return None if taken is None else taken[0]


def drain(queue):
    """Take all sources in one thread, all of them successful."""
    urls = []
    while (source := take(queue)) is not None:
        urls.append(source.url)
        queue.done(source)
    return urls


def test_every_source_is_handed_out_once(make_queue):
    urls = [f"http://{host}.org/{number}.mp4" for number in range(5) for host in "ab"]
    assert sorted(drain(make_queue(urls)[0])) == sorted(urls)


def test_a_back_off_is_waited_for_while_other_hosts_go_first(make_queue):
    queue, _ = make_queue(["http://a.org/1.mp4", "http://a.org/2.mp4", "http://b.org/1.mp4"])
    first = take(queue)
    started = time.time()
    assert queue.rate_limited(first, 0.5)
    other = take(queue)
    assert other.url == "http://b.org/1.mp4"
    queue.done(other)
    again = take(queue)
    assert again == first
    assert time.time() - started >= 0.5
    queue.done(again)
    assert drain(queue) == ["http://a.org/2.mp4"]


def test_back_offs_double_until_the_host_is_given_up_on(make_queue):
    queue, logged = make_queue(["http://a.org/1.mp4", "http://a.org/2.mp4"])
    waited, has_next, started = [], True, time.time()
    while has_next:
        source = take(queue)
        waited.append(time.time() - started)
        assert source is not None
        started = time.time()
        has_next = queue.rate_limited(source, None)
    # At least; longer on a busy machine.
    assert [wait >= least for wait, least in zip(waited, (0.0, 0.1, 0.2), strict=True)] == [True] * 3
    assert [words[-1] for words in logged[:2]] == [0.1, 0.2]
    assert take(queue) is None
    assert [source.url for source in queue.given_up] == ["http://a.org/2.mp4"]
    assert len(logged) == 3


def test_a_rate_limit_counts_however_soon_it_comes(make_queue):
    queue, logged = make_queue(["http://a.org/1.mp4"], request_pause_s=0.2, max_host_pauses=1)
    assert queue.rate_limited(take(queue), None)
    assert not queue.rate_limited(take(queue), None)
    assert len(logged) == 2


def test_a_successful_request_resets_the_back_off(make_queue):
    queue, _ = make_queue([f"http://a.org/{number}.mp4" for number in range(6)], max_host_pauses=1)
    for _ in range(3):
        source = take(queue)
        assert queue.rate_limited(source, 0.0)
        source = take(queue)
        queue.done(source)


def test_concurrent_rate_limits_are_one_back_off(make_queue):
    queue, logged = make_queue(["http://a.org/1.mp4", "http://a.org/2.mp4"], max_host_pauses=1)
    sources = [take(queue), take(queue)]
    assert all(queue.rate_limited(source, 0.2) for source in sources)
    assert len(logged) == 1


def test_a_host_that_asks_for_hours_is_given_up_on_at_once(make_queue):
    queue, _ = make_queue(["http://a.org/1.mp4"])
    assert not queue.rate_limited(take(queue), 5 * HOUR_S)


def test_the_hourly_quota_outlives_the_run(make_queue, tmp_path):
    urls = ["https://youtu.be/a", "https://www.youtube.com/watch?v=b", "http://b.org/1.mp4"]
    limits = {"max_per_hour": {"youtube.com": 2}}
    assert sorted(drain(make_queue(urls, **limits)[0])) == sorted(urls)
    asked = json.loads((tmp_path / "hosts.json").read_text())
    assert [len(asked["youtube.com"]), *asked] == [2, "youtube.com"]
    # As if the first request had been nearly an hour ago.
    asked["youtube.com"][0] -= HOUR_S - 1.0
    (tmp_path / "hosts.json").write_text(json.dumps(asked))
    queue, _ = make_queue(["https://www.youtube.com/watch?v=c", "http://b.org/2.mp4"], **limits)
    assert drain(queue) == ["http://b.org/2.mp4", "https://www.youtube.com/watch?v=c"]
    assert time.time() >= asked["youtube.com"][0] + HOUR_S


def test_requests_to_one_host_keep_the_minimum_distance(make_queue):
    queue, _ = make_queue([f"http://a.org/{number}.mp4" for number in range(4)], request_pause_s=0.1)
    started = time.time()
    drain(queue)
    assert time.time() - started >= 0.3


def test_a_thread_waits_while_a_source_in_progress_may_be_put_back(make_queue):
    queue, _ = make_queue(["http://a.org/1.mp4"])
    source = take(queue)
    others = []
    thread = threading.Thread(target=lambda: others.append(take(queue)))
    thread.start()
    queue.rate_limited(source, 0.1)
    thread.join(5)
    assert others == [source]


def test_a_stopped_queue_wakes_waiting_threads(make_queue):
    queue, _ = make_queue([f"http://a.org/{number}.mp4" for number in range(3)], request_pause_s=60)
    take(queue)
    others = []
    thread = threading.Thread(target=lambda: others.append(take(queue)))
    thread.start()
    queue.stop()
    thread.join(5)
    assert others == [None]
    assert take(queue) is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://m.youtube.com/watch?v=a", "youtube.com"),
        ("https://youtu.be/a", "youtube.com"),
        ("https://notyoutube.com/a", "notyoutube.com"),
        ("http://a.org:80/v.mp4", "a.org"),
        ("file:///a/v.mp4", ""),
    ],
)
def test_aliases_and_subdomains_count_for_one_host(url, host):
    assert host_of(url, {"youtube.com": 250}) == host
