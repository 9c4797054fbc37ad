import pytest

from lia_model.serving.http.request_rates import MAX_NUM_CLIENTS, RequestRates
from tests.lia_model.serving.service import REQUESTS, Service, assert_refused


class Clock:
    """A clock that is set by hand."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.mark.parametrize("max_per_s", [0.5, 1, 7, 100])
def test_in_the_long_run_a_client_sends_as_many_as_allowed(max_per_s):
    clock = Clock()
    rates = RequestRates(max_per_s, clock)
    num_allowed = 0
    for _ in range(4000):
        num_allowed += rates.wait_s("a") == 0
        clock.now_s += 1 / 400
    assert num_allowed == pytest.approx(10 * max_per_s + max(1, max_per_s), abs=1)


def test_after_the_wait_it_was_told_a_client_is_allowed():
    clock = Clock()
    rates = RequestRates(3, clock)
    while not (wait_s := rates.wait_s("a")):
        pass
    assert rates.wait_s("b") == 0
    clock.now_s += wait_s - 0.001
    assert rates.wait_s("a") > 0
    clock.now_s += 0.002
    assert rates.wait_s("a") == 0


def test_the_client_that_has_been_idle_longest_is_forgotten():
    rates = RequestRates(1, Clock())
    assert rates.wait_s("first") == 0
    assert rates.wait_s("second") == 0
    assert rates.wait_s("first") > 0
    for index in range(MAX_NUM_CLIENTS - 1):
        rates.wait_s(str(index))
    assert rates.wait_s("first") > 0
    assert rates.wait_s("second") == 0


def test_too_many_requests_are_told_when_to_come_back_and_health_is_always_answered(tmp_path):
    service = Service(tmp_path, requests=REQUESTS.model_copy(update={"max_requests_per_s": 0.1}))
    assert service.ask("GET", "/v1/models").status_code == 200
    refused = service.ask("GET", "/v1/models")
    assert_refused(refused, 429, "too_many_requests", "0.1 requests a second")
    assert 8 <= int(refused.headers["Retry-After"]) <= 10
    assert service.ask("GET", "/healthz").status_code == 200
