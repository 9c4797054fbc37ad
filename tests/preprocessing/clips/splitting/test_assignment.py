from dataclasses import replace

import numpy as np
import pytest

from preprocessing.clips.sample import ClipMetadata, PreparedClip
from preprocessing.clips.splitting.assignment import assign, check_accounts, check_splits
from preprocessing.clips.stored_result import SourceSummary
from preprocessing.faces.people import Person
from preprocessing.ledger import ClipRow
from tests.preprocessing.clips.made_up_clip import make_signature

FACES = dict(zip("abcd", np.eye(4).tolist(), strict=True))
LIMIT = 0.6


@pytest.fixture
def make_result(tmp_path):
    """Function that gives a source in which the named people were seen, each in one clip."""

    def make(source, seen, moves=(), by_time=False):
        rows, clips = [], []
        for number, _ in enumerate(seen):
            key = f"{source.row_key}-{number:03d}-000000"
            base = {"key": key, "source_key": source.key, "url": source.url}
            rows.append(
                ClipRow(
                    outcome="kept",
                    row_key=source.row_key,
                    person=number,
                    num_frames=9,
                    **base,
                )
            )
            clip = ClipMetadata(
                **base, licence=None, identity=source.identity, split="train", by_time=by_time, follows=None,
                start_s=0.0, end_s=1.0, num_frames=9, fps=25.0, times_s=[0.0], size_px=16,
                crop_rule="fomm_square",
                crop_box=(0, 0, 16, 16), frame_size_px=(32, 32), mean_score=0.9,
            )  # fmt: skip
            text = make_signature(moves[number] if moves else key).to_text()
            made = PreparedClip(
                clip=clip, file=tmp_path / key, frame_bytes=[], frames_sha256="", signature=text
            )
            clips.append(made.kept())
        people = [Person(num_frames=9 - number, embedding=FACES[name]) for number, name in enumerate(seen)]
        return SourceSummary(source.row_key, rows, clips, people)

    return make


@pytest.fixture
def settings(shards_settings):
    identity = shards_settings.identity.model_copy(update={"across_sources": True})
    return shards_settings.model_copy(update={"identity": identity, "test_fraction": 0.5})


@pytest.fixture
def sources(make_source):
    return [make_source(f"http://a.org/{number}.mp4") for number in range(4)]


def test_one_face_in_several_videos_is_one_person_in_one_split(settings, sources, make_result):
    results = [make_result(source, seen) for source, seen in zip(sources, ["a", "ab", "b", "c"], strict=True)]
    rows, prepared, _ = assign(sources, results, settings, LIMIT)
    names = [row.identity for row in rows]
    assert names[0] == names[1]
    assert names[2] == names[3]
    assert len(set(names)) == 3
    # a and b are in one video together, so all their videos go to one side.
    assert len({row.split for row in rows[:4]}) == 1
    seeds = [settings.model_copy(update={"seed": seed}) for seed in range(9)]
    drawn = [assign(sources, results, seeded, LIMIT).rows for seeded in seeds]
    assert {row.split for rows in drawn for row in rows} == {"train", "test"}
    assert [clip.split for clip in prepared] == [row.split for row in rows]
    assert [clip.identity for clip in prepared] == names


def test_without_looking_across_sources_everybody_is_somebody_else(shards_settings, sources, make_result):
    results = [make_result(source, "a") for source in sources]
    rows, *_ = assign(sources, results, shards_settings, LIMIT)
    assert len({row.identity for row in rows}) == 4


def test_the_list_names_the_one_who_is_seen_longest(settings, make_source, make_result):
    sources = [
        make_source("http://a.org/1.mp4", identity="Ada"),
        make_source("http://a.org/2.mp4"),
        make_source("http://a.org/3.mp4", identity="Bo"),
    ]
    results = [make_result(source, seen) for source, seen in zip(sources, ["ac", "a", "a"], strict=True)]
    rows, _, lookalikes = assign(sources, results, settings, LIMIT)
    assert rows[0].identity == "Ada"
    assert rows[1].identity.startswith("unnamed-")
    assert rows[3].identity == "Bo"
    assert lookalikes == [("Ada", "Bo")]


def test_of_a_person_listed_on_both_sides_the_later_clips_are_left_out(settings, make_source, make_result):
    sources = [
        make_source("http://a.org/1.mp4", split="train", identity="Ada"),
        make_source("http://a.org/2.mp4", split="test", identity="Bo"),
    ]
    results = [make_result(source, seen) for source, seen in zip(sources, ["a", "ab"], strict=True)]
    found = assign(sources, results, settings, LIMIT)
    assert [row.label for row in found.rows] == ["kept", "filtered(other_split)", "kept"]
    assert [row.split for row in found.rows] == ["train", "test", "test"]
    assert found.num_clashes == 1
    assert len(found.clips) == 2


def test_eight_files_of_one_person_with_other_names_are_in_one_split(settings, make_source, make_result):
    for seed in range(20):
        sources = [
            make_source(f"http://a.org/{seed}/{number}.mp4", identity=f"name {number}") for number in range(8)
        ]
        results = [make_result(source, "a") for source in sources]
        found = assign(sources, results, settings.model_copy(update={"seed": seed}), LIMIT)
        assert len({row.split for row in found.rows}) == 1
        assert len(found.lookalikes) == 28


def worlds(make_source, make_result, num_worlds):
    """Yield lists of sources and results of random people, some named, listed and seen in several videos."""
    random = np.random.default_rng(0)
    for world in range(num_worlds):
        sources, results = [], []
        for number in range(int(random.integers(2, 6))):
            source = make_source(
                f"http://{world}.org/{number}.mp4",
                identity=random.choice([None, None, None, "Ada", "Bo"]),
                split=str(random.choice(["auto"] * 8 + ["test", "by_time"])),
            )
            seen = "".join(random.permutation(list("abcd"))[: random.integers(1, 3)])
            sources.append(source)
            results.append(make_result(source, seen, by_time=source.split == "by_time"))
        yield sources, results, int(random.integers(1, len(sources)))


def test_new_sources_neither_move_older_ones_nor_share_people_between_splits(
    settings, make_source, make_result
):
    moves, clashes = 0, 0
    quality = settings.quality.model_copy(update={"min_duplicate_similarity": None})
    settings = settings.model_copy(update={"quality": quality})
    for sources, results, num_old in worlds(make_source, make_result, 400):
        old = assign(sources[:num_old], results[:num_old], settings, LIMIT)
        former = {clip.source_key: clip.split for clip in old.clips if not clip.by_time}
        # With a record of the former splits, new ones may stand anywhere in the list.
        shuffled = [*zip(sources[num_old:], results[num_old:], strict=True)]
        shuffled += [*zip(sources[:num_old], results[:num_old], strict=True)]
        appended = assign(sources, results, settings, LIMIT)
        inserted = assign(*map(list, zip(*shuffled, strict=True)), settings, LIMIT, former)
        before = {row.key: (row.outcome, row.split) for row in old.rows}
        clashes += appended.num_clashes
        for now in (appended, inserted):
            after = {row.key: (row.outcome, row.split) for row in now.rows}
            moves += sum(after[key] != value for key, value in before.items() if value[0] == "kept")
            people = {}
            found = {result.row_key: result for result in results}
            for row in now.rows:
                result = found[row.row_key]
                if row.outcome == "kept" and not result.clips[0].by_time:
                    face = tuple(result.people[row.person].embedding)
                    people.setdefault(face, set()).add(row.split)
            assert all(len(found) == 1 for found in people.values())
    assert moves == 0
    # The worlds do hold what would have moved them.
    assert clashes > 40


def test_the_same_recording_twice_is_kept_once(settings, sources, make_result):
    results = [make_result(source, "a", ["nods"]) for source in sources[:2]]
    rows, prepared, _ = assign(sources[:2], results, settings, LIMIT)
    kept = min(row.key for row in rows)
    assert sorted(row.label for row in rows) == ["filtered(duplicate)", "kept"]
    assert [row.duplicate_of for row in rows if row.reason == "duplicate"] == [kept]
    assert [clip.key for clip in prepared] == [kept]


@pytest.mark.parametrize("larger", [0, 1])
def test_of_two_copies_the_one_that_shows_more_of_its_video_is_kept(settings, sources, make_result, larger):
    results = [make_result(source, "a", ["nods"]) for source in sources[:2]]
    clip = results[larger].clips[0]
    results[larger].clips[0] = clip._replace(num_source_pixels=clip.num_source_pixels + 1)
    _, clips, _ = assign(sources[:2], results, settings, LIMIT)
    assert [one.key for one in clips] == [clip.key]


def test_videos_with_one_recording_go_to_one_split_with_all_their_people(settings, sources, make_result):
    seen, moves = ["ab", "cd"], [["nods", "turns"], ["looks up", "nods"]]
    for seed in range(8):
        seeded = settings.model_copy(update={"seed": seed})
        results = [make_result(*each) for each in zip(sources[:2], seen, moves, strict=True)]
        rows, *_ = assign(sources[:2], results, seeded, LIMIT)
        assert len({row.split for row in rows}) == 1
        assert [row.label for row in rows].count("filtered(duplicate)") == 1


def test_videos_listed_in_two_splits_lose_only_their_duplicates(settings, make_source, make_result):
    sources = [make_source(f"http://a.org/{split}.mp4", split=split) for split in ("train", "test")]
    results = [make_result(source, name, ["nods"]) for source, name in zip(sources, "ab", strict=True)]
    rows, prepared, _ = assign(sources, results, settings, LIMIT)
    assert [row.split for row in rows] == ["train", "test"]
    assert len(prepared) == 1


def test_a_leak_is_named(settings, sources, make_result):
    _, prepared, _ = assign(sources[:1], [make_result(sources[0], "a")], settings, LIMIT)
    with pytest.raises(
        ValueError, match=r"2 in both train and test: identity unnamed-.*, video http://a.org/0"
    ):
        check_splits([prepared[0], prepared[0]._replace(split="test")])


def test_every_source_and_every_candidate_is_in_exactly_one_state(settings, sources, make_result):
    results = [make_result(source, seen) for source, seen in zip(sources, ["a", "ab", "b", "c"], strict=True)]
    rows = [row for result in results for row in result.rows]
    clips = [clip for result in results for clip in result.clips]
    check_accounts(sources, rows, clips)
    first = rows[0]
    broken = {
        "in more than one state": (sources, [*rows, first], clips),
        "without a state": (sources, rows[1:], clips),
        "of no source": (sources[1:], rows, clips),
        "without a reason": (
            sources,
            [replace(first, outcome="filtered"), *rows[1:]],
            clips[1:],
        ),
        "kept without a clip": (sources, rows, clips[1:]),
        "with a clip but not kept": (
            sources,
            [replace(first, outcome="filtered", reason="dark"), *rows[1:]],
            clips,
        ),
        "with two clips": (sources, rows, [*clips, clips[0]]),
    }
    for what, told in broken.items():
        with pytest.raises(
            RuntimeError, match=f"the ledger does not add up .*{what}: .*{sources[0].key[:12]}"
        ):
            check_accounts(*told)
