from lia_model.serving.access.scopes import OPERATOR, Caller, Scope
from lia_model.serving.interactive.portraits import Portraits


def test_the_portrait_unused_for_longest_is_forgotten_first():
    portraits = Portraits(max_num=2)
    first, second = portraits.add(b"1", None), portraits.add(b"2", None)
    assert portraits.get(first, OPERATOR) == b"1"
    third = portraits.add(b"3", None)
    assert [portraits.get(one, OPERATOR) for one in (first, second, third)] == [b"1", None, b"3"]


def test_a_portrait_of_another_owner_is_not_found():
    portraits = Portraits()
    kept = portraits.add(b"1", "alice")
    callers = (Caller("alice", Scope.READ), Caller("carol", Scope.ADMIN), Caller("bob", Scope.SUBMIT))
    assert [portraits.get(kept, caller) for caller in callers] == [b"1", b"1", None]
