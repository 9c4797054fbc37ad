import os
import time

from lia_model.serving.jobs.heartbeat import BEAT_S, MAX_SILENCE_S, Heartbeat


def test_a_worker_is_heard_from_its_first_beat_until_it_was_silent_for_too_long(tmp_path):
    path = tmp_path / "home" / "worker"
    heartbeat = Heartbeat(path)
    assert not heartbeat.is_heard()
    heartbeat.beat()
    assert heartbeat.is_heard()
    for silence_s, is_heard in ((MAX_SILENCE_S - 2, True), (MAX_SILENCE_S + 1, False)):
        os.utime(path, (time.time() - silence_s,) * 2)
        assert Heartbeat(path).is_heard() == is_heard


def test_it_beats_while_the_worker_lives(tmp_path):
    path = tmp_path / "worker"
    lives = [True]
    Heartbeat(path).keep_beating(lambda: lives[0])
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 20 * BEAT_S
    while not Heartbeat(path).is_heard():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lives[0] = False
    time.sleep(2 * BEAT_S)
    os.utime(path, (0, 0))
    time.sleep(2 * BEAT_S)
    assert not Heartbeat(path).is_heard()
