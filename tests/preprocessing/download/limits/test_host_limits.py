"""Properties of the limits of hosts, over random runs of several drivers in simulated time."""

import math
import random
from dataclasses import replace

import pytest

from preprocessing.download.limits.host_limits import FRESH_S, HOUR_S, HostLimits, HostRules, strictest_rules

RULES = HostRules(max_per_hour=20, request_pause_s=0.0, host_pause_s=60.0, max_host_pauses=2)
START = 1.8e9


def simulate(limits, rules, seed, hours=3.0):
    """Let runs, each with its rules, ask for one host at random times; return when requests began.

    A granted request begins at once, late, after its worker was lost, or never.
    """
    chance = random.Random(seed)
    now, begun, waiting = START, [], []
    while now < START + hours * HOUR_S:
        now += chance.expovariate(1 / 20.0)
        run = chance.choice(rules)
        turn = limits.ask("a.org", run, now, START)
        if turn.is_granted:
            delay_s = chance.choice(
                (0.0, 0.0, chance.uniform(0, 2 * FRESH_S), chance.uniform(0, HOUR_S), None)
            )
            if delay_s is not None:
                waiting.append((now + delay_s, run, turn.number))
        for one in [one for one in waiting if one[0] <= now]:
            waiting.remove(one)
            _, run, number = one
            if limits.begin("a.org", run, number, now, START).is_granted:
                begun.append(now)
                if chance.random() < 0.1:
                    # Ray repeats the task of a lost worker.
                    waiting.append((now + chance.uniform(0, 60), run, number))
    return begun


def most_in_an_hour(times):
    return max(sum(begin <= time < begin + HOUR_S for time in times) for begin in times)


@pytest.mark.parametrize("seed", range(20))
def test_no_hour_has_more_requests_than_the_smallest_quota(seed):
    rules = [RULES, replace(RULES, max_per_hour=25), replace(RULES, max_per_hour=None)]
    limits = HostLimits()
    # What one run wants counts as soon as it has asked.
    limits.ask("a.org", RULES, START, START)
    begun = simulate(limits, rules, seed)
    # A turn may begin late by FRESH_S; a handful of turns was granted in that time.
    assert most_in_an_hour(begun) <= RULES.max_per_hour + 2
    assert len(begun) > RULES.max_per_hour


def drained(limits, rules, seconds, step_s=1.0, begins=True):
    """Ask as often as possible; return the times of what began."""
    times, now = [], START
    while now < START + seconds:
        turn = limits.ask("a.org", rules, now, START)
        if turn.is_granted:
            times.append(now)
            if begins:
                limits.begin("a.org", rules, turn.number, now, START)
        else:
            now += min(turn.wait_s, step_s) or step_s
    return times


def test_a_quota_is_used_up_and_no_more():
    times = drained(HostLimits(), RULES, 3 * HOUR_S + 1)
    assert len(times) == 4 * RULES.max_per_hour
    assert most_in_an_hour(times) == RULES.max_per_hour


def test_what_was_granted_and_never_began_counts_for_its_hour():
    times = drained(HostLimits(), RULES, HOUR_S - 1, begins=False)
    assert len(times) == RULES.max_per_hour


def test_the_wait_is_as_long_as_needed_and_names_the_quota():
    limits = HostLimits()
    drained(limits, RULES, 1.0)
    turn = limits.ask("a.org", RULES, START + 600, START)
    assert (turn.wait_s, turn.quota, turn.number) == (HOUR_S - 600, 20, None)
    # By the clock's resolution of such times.
    assert limits.ask("a.org", RULES, START + HOUR_S + 1e-3, START).is_granted


def test_a_request_that_begins_late_counts_from_then():
    limits, rules = HostLimits(), replace(RULES, max_per_hour=1)
    turn = limits.ask("a.org", rules, START, START)
    assert limits.begin("a.org", rules, turn.number, START + 1000, START).is_granted
    assert limits.ask("a.org", rules, START + HOUR_S + 1, START).wait_s == pytest.approx(999)


def test_a_request_of_a_lost_worker_counts_when_it_began_and_again_when_it_is_repeated():
    limits, rules = HostLimits(), replace(RULES, max_per_hour=2)
    turn = limits.ask("a.org", rules, START, START)
    assert limits.begin("a.org", rules, turn.number, START + 1, START).is_granted
    assert limits.begin("a.org", rules, turn.number, START + 2, START).is_granted
    assert limits.begin("a.org", rules, turn.number, START + 3, START).wait_s == pytest.approx(HOUR_S - 3)


def test_requests_that_begin_late_keep_their_distance():
    limits, rules = HostLimits(), replace(RULES, request_pause_s=1.0)
    one, two = (limits.ask("a.org", rules, START + number, START).number for number in range(2))
    assert limits.begin("a.org", rules, one, START + 3, START).is_granted
    wait = limits.begin("a.org", rules, two, START + 3.25, START)
    assert (wait.wait_s, wait.number) == (0.75, two)
    assert limits.begin("a.org", rules, two, START + 4, START).is_granted
    assert limits.ask("a.org", rules, START + 4.5, START).wait_s == 0.5


def test_of_two_runs_the_strictest_value_of_each_rule_counts_for_an_hour():
    lax = HostRules(max_per_hour=None, request_pause_s=5.0, host_pause_s=1.0, max_host_pauses=9)
    assert strictest_rules([RULES, lax]) == HostRules(20, 5.0, 60.0, 2)
    limits = HostLimits()
    drained(limits, RULES, 1.0)
    assert limits.ask("a.org", lax, START + 10, START).quota == 20
    # The run that set the quota has not asked for an hour.
    assert limits.ask("a.org", lax, START + HOUR_S + 1, START).is_granted
    assert limits.ask("a.org", lax, START + HOUR_S + 3, START).wait_s == pytest.approx(3)


def test_a_quota_counts_for_subdomains_also_of_runs_without_one():
    limits, none = HostLimits(), replace(RULES, max_per_hour=None)
    drained(limits, RULES, 1.0)
    assert not limits.ask("www.a.org", none, START + 2, START).is_granted
    assert limits.ask("nota.org", none, START + 2, START).is_granted


def test_another_host_is_not_held_up():
    limits = HostLimits()
    drained(limits, RULES, 1.0)
    assert limits.ask("b.org", RULES, START + 2, START).is_granted


def test_back_offs_double_and_concurrent_refusals_are_one():
    limits, now = HostLimits(), START
    for pause_s in (60.0, 120.0):
        new, same = (limits.refused("a.org", RULES, None, now, START) for _ in range(2))
        assert (new.is_new, new.pause_s, same.is_new, same.pause_s) == (True, pause_s, False, pause_s)
        assert limits.ask("a.org", RULES, now + pause_s - 1, START).wait_s == pytest.approx(1)
        now += pause_s
    refusal = limits.refused("a.org", RULES, None, now, START)
    assert (refusal.is_given_up, refusal.num_backoffs) == (True, 3)


def test_every_run_gives_up_on_a_host_and_one_that_begins_later_tries_again():
    limits = HostLimits()
    assert limits.refused("a.org", RULES, 5 * HOUR_S, START + 10, START).is_given_up
    assert limits.ask("a.org", RULES, START + 20, START + 5).is_given_up
    assert limits.ask("a.org", RULES, START + 20, START + 15).is_granted
    # From the first back-off on.
    assert limits.refused("a.org", RULES, None, START + 30, START + 15).pause_s == 60.0


def test_an_answer_ends_the_series_of_back_offs():
    limits = HostLimits()
    for number in range(5):
        assert limits.refused("a.org", RULES, None, START + 100 * number, START).pause_s == 60.0
        limits.answered("a.org")


def test_requests_that_are_kept_elsewhere_count_once():
    limits = HostLimits()
    drained(limits, RULES, 1.0)
    kept = limits.requests()
    assert len(set(kept["a.org"])) == RULES.max_per_hour
    limits.merge(kept)
    assert limits.requests() == kept
    after = HostLimits()
    after.merge(kept)
    after.merge({"b.org": [START - math.pi]})
    turn = after.ask("a.org", RULES, START + 1, START)
    assert (turn.wait_s, turn.quota) == (pytest.approx(HOUR_S - 1, abs=0.1), RULES.max_per_hour)
    assert after.requests()["b.org"] == [START - math.pi]
