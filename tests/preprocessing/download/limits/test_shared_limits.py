"""What is granted outlives the process that grants it, in the stores of the runs."""

import json
import shutil
import time
from pathlib import Path

import pytest

from preprocessing.download.limits.host_limits import HostRules
from preprocessing.download.limits.shared_limits import REQUESTS, SharedLimits
from preprocessing.storage.outage import StoreError

RULES = HostRules(max_per_hour=2, request_pause_s=0.0, host_pause_s=60.0, max_host_pauses=2)


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/one"


def ask(limits, url, name="a.org", rules=RULES):
    return limits.ask(url, limits.now(), name, rules)


def kept(url):
    text = (Path(url.removeprefix("file://")) / REQUESTS).read_text()
    return {name: len(times) for name, times in json.loads(text).items()}


def test_a_new_process_knows_what_was_requested_under_a_quota(url):
    limits = SharedLimits()
    assert ask(limits, url).is_granted
    assert kept(url) == {"a.org": 1}
    assert ask(SharedLimits(), url).is_granted
    assert ask(SharedLimits(), url).quota == 2


def test_runs_with_stores_of_their_own_share_a_quota_and_each_store_has_it_all(url, tmp_path):
    limits, other = SharedLimits(), f"file://{tmp_path}/other"
    assert ask(limits, url).is_granted
    assert ask(limits, other).is_granted
    assert ask(limits, url).quota == 2
    assert kept(url) == kept(other) == {"a.org": 2}


def test_a_store_that_comes_later_gets_what_the_others_have(url, tmp_path):
    limits, other = SharedLimits(), f"file://{tmp_path}/other"
    assert ask(limits, url).is_granted
    assert ask(limits, url).is_granted
    assert ask(limits, other).quota == 2
    assert kept(other) == {"a.org": 2}


def test_a_store_that_only_another_run_can_write_holds_up_nobody(url, tmp_path):
    limits, other = SharedLimits(), f"file://{tmp_path}/other"
    assert ask(limits, other).is_granted
    shutil.rmtree(tmp_path / "other")
    (tmp_path / "other").write_text("no folder")
    assert ask(limits, url).is_granted
    assert kept(url) == {"a.org": 2}


def test_hosts_without_a_quota_write_nothing(url, tmp_path):
    limits, rules = SharedLimits(), HostRules(None, 0.0, 60.0, 2)
    assert ask(limits, url, "b.org", rules).is_granted
    assert not (tmp_path / "one").exists()


def test_a_request_is_confirmed_or_repeated_and_a_host_given_up_for_runs_of_its_time(url):
    limits = SharedLimits()
    started = limits.now()
    turn = limits.ask(url, started, "a.org", RULES)
    assert limits.begin(url, started, "a.org", RULES, turn.number).is_granted
    assert kept(url) == {"a.org": 1}
    assert limits.begin(url, started, "a.org", RULES, turn.number).is_granted
    assert kept(url) == {"a.org": 2}
    limits.answered("a.org")
    assert limits.refused(url, started, "a.org", RULES, 1e9).is_given_up
    assert limits.ask(url, started, "a.org", RULES).is_given_up
    assert limits.ask(url, time.time(), "a.org", RULES).quota == 2


def test_nothing_is_granted_where_it_cannot_be_kept(tmp_path):
    (tmp_path / "one").write_text("no folder")
    with pytest.raises(StoreError, match="LIA_STORE_URL"):
        ask(SharedLimits(), f"file://{tmp_path}/one")
