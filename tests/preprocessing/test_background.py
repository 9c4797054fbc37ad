import threading

import pytest

from preprocessing.background import in_background


@pytest.mark.parametrize("error", [None, KeyError])
def test_work_ends_with_the_block_also_when_that_fails(error):
    started = threading.Event()
    ended = []

    def work(stop):
        started.set()
        ended.append(stop.wait(60))

    def run():
        with in_background(work, "waiting"):
            assert started.wait(60)
            assert ended == []
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(error):
            run()
    # Not False, which is what 60 seconds without the event would give.
    assert ended == [True]
