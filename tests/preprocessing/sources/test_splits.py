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


def test_a_chain_of_people_and_videos_is_one_group(make_source):
    sources = [
        make_source(f"http://a.org/{number // 2}.mp4", start_s=number, identity=f"person {(number + 1) // 2}")
        for number in range(20_000)
    ]
    for order in (sources, sources[::-1]):
        assert len(set(assign_splits(order, 0.5, 0).values())) == 1
