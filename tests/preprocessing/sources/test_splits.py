import numpy as np

from preprocessing.sources.splits import assign_splits


def test_no_video_and_no_identity_is_in_two_splits(make_source):
    sources = [
        make_source(
            f"http://a.org/{number // 2}.mp4", start_s=float(number), identity=f"person {number // 3}"
        )
        for number in range(200)
    ]
    splits = assign_splits(sources, 0.3, 0)
    for name in ("key", "identity"):
        found = {}
        for source in sources:
            found.setdefault(getattr(source, name), set()).add(splits[source.row_key])
        assert all(len(seen) == 1 for seen in found.values())
    assert 0.1 < sum(split == "test" for split in splits.values()) / 200 < 0.5


def test_new_sources_do_not_move_old_ones(make_source):
    sources = [make_source(f"http://a.org/{number}.mp4") for number in range(60)]
    before = assign_splits(sources[:40], 0.3, 0)
    after = assign_splits(sources, 0.3, 0)
    assert before.items() <= after.items()


def test_a_listed_split_decides_for_its_whole_group(make_source):
    sources = [
        make_source("http://a.org/1.mp4", identity="ann", split="test"),
        make_source("http://a.org/2.mp4", identity="ann"),
    ]
    assert set(assign_splits(sources, 0.0, 0).values()) == {"test"}


def test_added_videos_never_move_older_ones_whoever_links_them(make_source):
    random = np.random.default_rng(0)
    num_linked = 0
    for world in range(2000):
        sources = [make_source(f"http://{world}.org/{number}.mp4") for number in range(4)]
        people = {source.row_key: set(random.choice(list("abcdefgh"), 2)) for source in sources}
        before = assign_splits(sources[:3], 0.5, world, people)
        after = assign_splits(sources, 0.5, world, people)
        assert before.items() <= after.items()
        added = people[sources[3].row_key]
        linked = {after[source.row_key] for source in sources[:3] if people[source.row_key] & added}
        num_linked += len(linked) == 2
    # Enough of them link videos of two splits.
    assert num_linked > 100


def test_a_video_follows_the_earliest_with_its_people(make_source):
    sources = [make_source(f"http://a.org/{number}.mp4") for number in range(40)]
    people = {source.row_key: {f"person {number % 5}"} for number, source in enumerate(sources)}
    splits = assign_splits(sources, 0.5, 1, people)
    for number, source in enumerate(sources):
        assert splits[source.row_key] == splits[sources[number % 5].row_key]


def test_former_splits_stand_wherever_new_rows_are_inserted(make_source):
    sources = [make_source(f"http://a.org/{number}.mp4", identity="ann") for number in range(2)]
    for former in ("train", "test"):
        splits = assign_splits(sources, 0.5, 0, former={sources[1].key: former})
        assert set(splits.values()) == {former}
