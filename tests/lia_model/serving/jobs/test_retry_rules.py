from lia_model.serving.jobs import RetryRules
from lia_model.serving.messages import Error


def test_the_pause_doubles_with_each_failure_up_to_a_limit():
    rules = RetryRules(back_off_s=3, max_back_off_s=20)
    assert [rules.pause_s(number) for number in range(6)] == [0, 3, 6, 12, 20, 20]
    assert rules.pause_s(5000) == 20


def test_a_job_is_given_up_after_its_last_failure_and_no_sooner():
    rules = RetryRules(max_failures=3, back_off_s=3)
    assert [rules.after_failure(number, "disk full") for number in (1, 2)] == [3, 6]
    given_up = Error(code="internal", message="given up after 3 attempts: disk full")
    assert rules.after_failure(3, "disk full") == given_up


def test_a_lost_runner_delays_a_job_by_its_lease_alone_the_first_time():
    rules = RetryRules(max_losses=3, back_off_s=3)
    assert [rules.after_loss(number) for number in (1, 2)] == [0, 3]
    given_up = Error(code="worker_lost", message="given up after 3 attempts: its runner died")
    assert rules.after_loss(3) == given_up
