from lia_model.serving.jobs.turns import Line, next_turn, order_of_service

UPLOADS = [Line(owner, is_batch=False) for owner in ("ann", "bob", None)]


def test_whoever_was_served_longest_ago_is_served_first():
    lines = order_of_service(UPLOADS, {"ann": 3, "bob": 1, "": 2})
    assert [line.owner for line in lines] == ["bob", None, "ann"]


def test_a_new_owner_need_not_wait_for_a_round():
    assert order_of_service(UPLOADS, {"ann": 3, "": 2})[0].owner == "bob"


def test_every_upload_comes_before_every_batch():
    batches = [Line("new", is_batch=True), Line("ann", is_batch=True)]
    lines = order_of_service([*batches, *UPLOADS], {"ann": 9, "bob": 8, "": 7})
    assert [line.is_batch for line in lines] == [False] * 3 + [True] * 2
    assert lines[3:] == batches


def test_among_many_rounds_nobody_is_served_twice_before_another_is_served_once():
    turns: dict[str, int] = {}
    served = []
    for _ in range(9):
        line = order_of_service(UPLOADS, turns)[0]
        turns[line.owner or ""] = next_turn(turns)
        served.append(line.owner)
    assert all(set(served[start : start + 3]) == {"ann", "bob", None} for start in (0, 3, 6))
