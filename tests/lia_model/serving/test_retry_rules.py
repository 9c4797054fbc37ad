from lia_model.serving.retry_rules import RetryRules


def test_the_pause_doubles_with_each_failure_up_to_a_limit():
    rules = RetryRules(back_off_s=3, max_back_off_s=20)
    assert [rules.pause_s(number) for number in range(6)] == [0, 3, 6, 12, 20, 20]
    assert rules.pause_s(5000) == 20
