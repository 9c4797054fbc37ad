from lia_model.serving.interactive.portraits import Portraits


def test_the_portrait_unused_for_longest_is_forgotten_first():
    portraits = Portraits(max_num=2)
    first, second = portraits.add(b"1"), portraits.add(b"2")
    assert portraits.get(first) == b"1"
    third = portraits.add(b"3")
    assert [portraits.get(one) for one in (first, second, third)] == [b"1", None, b"3"]
