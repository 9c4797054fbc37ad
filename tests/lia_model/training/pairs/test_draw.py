from collections import Counter

import numpy as np
import pytest

from lia_model.data.sharded_clips import ShardedClips
from lia_model.settings import SamplingSettings
from lia_model.training.pairs.draw import GAP_BIN_DEG, PairDraw, build_draw, visiting_order
from tests.lia_model.shards_on_disk import write_shards

NUM_FRAMES = (5, 9, 3, 7, 4, 6)
PEOPLE = ("a", "b", "a", "a", "c", "b")
# The head turns slowly to 60 degrees: nine of ten frames look ahead.
YAWS = np.concatenate([np.linspace(-1, 1, 180), np.linspace(1, 60, 20)])


def draw_of(balance="clip", seed=7, pairs_per_visit=1, num_frames=NUM_FRAMES):
    return PairDraw(num_frames, seed, pairs_per_visit, balance, PEOPLE)


def clips_of(draw, first, num_pairs):
    return [draw.pair(number)[0] for number in range(first, first + num_pairs)]


@pytest.mark.parametrize("balance", ["clip", "person", "frames"])
def test_a_pair_is_two_different_frames_of_a_clip_and_a_function_of_seed_and_number(balance):
    draw, same, other = draw_of(balance), draw_of(balance), draw_of(balance, seed=8)
    pairs = [draw.pair(number) for number in range(200)]
    for clip, source, driving in pairs:
        assert source != driving
        assert 0 <= min(source, driving) <= max(source, driving) < NUM_FRAMES[clip]
    # In any order and from anywhere.
    assert [same.pair(number) for number in reversed(range(200))] == pairs[::-1]
    assert [other.pair(number) for number in range(200)] != pairs


def test_an_epoch_by_clip_visits_every_clip_once():
    for epoch in range(5):
        assert sorted(clips_of(draw_of(), 6 * epoch, 6)) == list(range(6))


def test_an_epoch_by_frames_visits_every_clip_as_often_as_it_has_frames():
    draw, length = draw_of("frames"), sum(NUM_FRAMES)
    for epoch in range(5):
        counts = Counter(clips_of(draw, length * epoch, length))
        assert tuple(counts[clip] for clip in range(6)) == NUM_FRAMES


def test_an_epoch_by_person_visits_every_person_once_and_their_clips_take_turns():
    draw = draw_of("person")
    clips = clips_of(draw, 0, 3 * 60)
    for epoch in range(60):
        assert sorted(PEOPLE[clip] for clip in clips[3 * epoch : 3 * epoch + 3]) == ["a", "b", "c"]
    for person in "abc":
        own = [clip for clip in range(6) if PEOPLE[clip] == person]
        seen = [clip for clip in clips if PEOPLE[clip] == person]
        for start in range(0, len(seen), len(own)):
            assert sorted(seen[start : start + len(own)]) == own
        if len(own) > 1:
            turns = {tuple(seen[start : start + len(own)]) for start in range(0, len(seen), len(own))}
            assert len(turns) > 1


@pytest.mark.parametrize("balance", ["clip", "person", "frames"])
def test_every_epoch_has_an_order_of_its_own(balance):
    draw = draw_of(balance)
    length = draw.visits_per_epoch
    orders = {tuple(clips_of(draw, length * epoch, length)) for epoch in range(20)}
    # Three people have six orders; everything else has far more than twenty.
    assert len(orders) > 5


@pytest.mark.parametrize("balance", ["clip", "person", "frames"])
def test_a_visit_draws_its_pairs_from_one_clip(balance):
    draw = draw_of(balance, pairs_per_visit=3)
    visits = [[draw.pair(3 * visit + each) for each in range(3)] for visit in range(40)]
    assert all(len({clip for clip, *_ in visit}) == 1 for visit in visits)
    assert any(len(set(visit)) == 3 for visit in visits)
    once = draw_of(balance)
    assert [visit[0][0] for visit in visits] == clips_of(once, 0, 40)


def test_balance_by_person_equalizes_people_where_few_have_most_clips():
    # As in published lists, a tenth of the people have three tenths of the clips.
    people = tuple(f"{number % 3}" for number in range(30)) + tuple(f"{3 + n % 27}" for n in range(70))
    shares = {}
    for balance in ("clip", "person"):
        draw = PairDraw((9,) * 100, 0, 1, balance, people)
        seen = Counter(people[clip] for clip in clips_of(draw, 0, 300))
        shares[balance] = sum(seen[str(number)] for number in range(3)) / 300
    assert shares == {"clip": 0.3, "person": 0.1}


def test_all_frames_of_a_clip_are_drawn_about_equally_often():
    draw = draw_of(num_frames=(10,))
    pairs = [draw.pair(number) for number in range(4000)]
    for side in (1, 2):
        counts = np.bincount([pair[side] for pair in pairs], minlength=10)
        assert counts.min() > 320
        assert counts.max() < 480


def turning(seed=0, unknown=()):
    return PairDraw((len(YAWS),) * 2, seed, yaws=lambda clip: None if clip in unknown else YAWS)


def test_yaw_differences_are_drawn_equally_often_as_far_as_the_clip_has_them():
    pairs = [turning().pair(number)[1:] for number in range(6000)]
    ahead = [(source, driving) for source, driving in pairs if source < 180]
    ranges = Counter(int(abs(YAWS[driving] - YAWS[source]) // GAP_BIN_DEG) for source, driving in ahead)
    # From a frame that looks ahead: 0 to 10 degrees, up to 50 to 60; beyond 60 only from those left of 0.
    shares = np.array([ranges[number] for number in range(6)]) / len(ahead)
    np.testing.assert_allclose(shares, 1 / 6, atol=0.03)
    uniform = [PairDraw((len(YAWS),), 0).pair(number)[1:] for number in range(6000)]
    assert np.mean([abs(YAWS[one] - YAWS[other]) > 20 for one, other in uniform]) < 0.2
    assert np.mean([abs(YAWS[one] - YAWS[other]) > 20 for one, other in pairs]) > 0.5


def test_sources_are_drawn_uniformly_and_every_frame_is_reached_by_yaw():
    pairs = [turning().pair(number)[1:] for number in range(20_000)]
    assert all(source != driving for source, driving in pairs)
    counts = np.bincount([source for source, _ in pairs], minlength=len(YAWS))
    assert counts.min() > 50
    assert counts.max() < 160
    assert {driving for _, driving in pairs} == set(range(len(YAWS)))


def test_a_clip_whose_yaw_is_not_known_is_drawn_uniformly():
    by_yaw, uniform = turning(unknown={1}), PairDraw((len(YAWS),) * 2, 0)
    pairs = [(by_yaw.pair(number), uniform.pair(number)) for number in range(40)]
    assert all(one == other for one, other in pairs if one[0] == 1)
    assert any(one != other for one, other in pairs if one[0] == 0)


def test_replacements_are_balanced_as_the_pairs_are():
    draw = draw_of("person")
    found = [draw.replacement(number, 1) for number in range(3000)]
    assert found == [draw_of("person").replacement(number, 1) for number in range(3000)]
    assert found != [draw.replacement(number, 2) for number in range(3000)]
    counts = Counter(PEOPLE[clip] for clip, *_ in found)
    assert all(900 < counts[person] < 1100 for person in "abc")


def test_the_order_of_an_epoch_is_drawn_once_however_many_pairs_need_it():
    visiting_order.cache_clear()
    draw = PairDraw((5,) * 1000, 3)
    clips = clips_of(draw, 0, 2000)
    assert visiting_order.cache_info().misses == 2
    assert sorted(clips[:1000]) == list(range(1000))
    with pytest.raises(ValueError, match="read-only"):
        visiting_order(3, 0, 1000)[0] = 1


def test_a_draw_is_built_from_what_the_shards_hold(tmp_path, train_settings):
    clips = [np.zeros((4, 32, 32, 3), np.uint8)] * 3
    yaws = [np.array([0, 10, 20, 30.5]), np.full(4, np.nan), np.zeros(4)]
    by_yaw = train_settings.model_copy(update={"sampling": SamplingSettings(balance="person", gap="yaw")})
    write_shards(tmp_path / "with", {"train": clips}, 32, yaws)
    draw = build_draw(ShardedClips(tmp_path / "with", "train"), by_yaw)
    assert draw.people == ("train-0", "train-1", "train-2")
    assert draw.yaws(0).tolist() == [0, 10, 20, 30.5]
    assert draw.yaws(1) is None

    write_shards(tmp_path / "without", {"train": clips}, 32)
    with pytest.raises(ValueError, match=r"gap is yaw, but .* holds the yaw of no frame; .* `lia shards`"):
        build_draw(ShardedClips(tmp_path / "without", "train"), by_yaw)
    assert build_draw(ShardedClips(tmp_path / "without", "train"), train_settings).yaws is None
