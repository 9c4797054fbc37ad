import numpy as np
import pytest

from preprocessing.clips.assignment import assign, check_accounts, check_splits
from preprocessing.clips.sample import ClipMetadata, PreparedClip
from preprocessing.clips.stored_result import SourceResult
from preprocessing.faces.people import Person
from preprocessing.ledger import ClipRow
from tests.preprocessing.clips.made_up_clip import make_signature

FACES = dict(zip("abcd", np.eye(4).tolist(), strict=True))
LIMIT = 0.6


@pytest.fixture
def make_result(tmp_path):
    """Function that gives a source in which the named people were seen, each in one clip."""

    def make(source, seen, moves=(), by_time=False):
        rows, prepared = [], []
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
            prepared.append(PreparedClip(clip=clip, file=tmp_path / key, frame_bytes=[], signature=text))
        people = [Person(num_frames=9 - number, embedding=FACES[name]) for number, name in enumerate(seen)]
        return SourceResult(
            row_key=source.row_key, fingerprint="f", rows=rows, prepared=prepared, people=people
        )

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
    assert {row.split for row in rows} == {"train", "test"}
    assert [clip.clip.split for clip in prepared] == [row.split for row in rows]
    assert [clip.clip.identity for clip in prepared] == names


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


def test_wishes_that_would_put_one_person_on_both_sides_are_refused(settings, make_source, make_result):
    sources = [
        make_source("http://a.org/1.mp4", split="train"),
        make_source("http://a.org/2.mp4", split="test"),
    ]
    with pytest.raises(ValueError, match=r"http://a.org/1.mp4 \(train\), http://a.org/2.mp4 \(test\)"):
        assign(sources, [make_result(source, "a") for source in sources], settings, LIMIT)


def test_the_same_recording_twice_is_kept_once(settings, sources, make_result):
    results = [make_result(source, "a", ["nods"]) for source in sources[:2]]
    rows, prepared, _ = assign(sources[:2], results, settings, LIMIT)
    kept = min(row.key for row in rows)
    assert sorted(row.label for row in rows) == ["filtered(duplicate)", "kept"]
    assert [row.duplicate_of for row in rows if row.reason == "duplicate"] == [kept]
    assert [clip.clip.key for clip in prepared] == [kept]


@pytest.mark.parametrize("larger", [0, 1])
def test_of_two_copies_the_one_that_shows_more_of_its_video_is_kept(settings, sources, make_result, larger):
    results = [make_result(source, "a", ["nods"]) for source in sources[:2]]
    clip = results[larger].prepared[0].clip.model_copy(update={"crop_box": (0, 0, 17, 17)})
    results[larger].prepared[0] = results[larger].prepared[0].model_copy(update={"clip": clip})
    _, prepared, _ = assign(sources[:2], results, settings, LIMIT)
    assert [one.clip.key for one in prepared] == [clip.key]


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


def test_the_order_of_the_sources_does_not_matter(settings, sources, make_result):
    seen = ["a", "ab", "c", "d"]
    results = [make_result(source, people) for source, people in zip(sources, seen, strict=True)]
    forward = assign(sources, results, settings, LIMIT)
    backward = assign(sources[::-1], results[::-1], settings, LIMIT)
    assert {row.key: row for row in forward.rows} == {row.key: row for row in backward.rows}


def test_a_leak_is_named(settings, sources, make_result):
    _, prepared, _ = assign(sources[:1], [make_result(sources[0], "a")], settings, LIMIT)
    other = prepared[0].clip.model_copy(update={"split": "test"})
    with pytest.raises(
        ValueError, match=r"2 in both train and test: identity unnamed-.*, video http://a.org/0"
    ):
        check_splits([prepared[0], prepared[0].model_copy(update={"clip": other})])


def test_every_source_and_every_candidate_is_in_exactly_one_state(settings, sources, make_result):
    results = [make_result(source, seen) for source, seen in zip(sources, ["a", "ab", "b", "c"], strict=True)]
    rows = [row for result in results for row in result.rows]
    clips = [clip for result in results for clip in result.prepared]
    check_accounts(sources, rows, clips)
    first = rows[0]
    broken = {
        "in more than one state": (sources, [*rows, first], clips),
        "without a state": (sources, rows[1:], clips),
        "of no source": (sources[1:], rows, clips),
        "without a reason": (
            sources,
            [first.model_copy(update={"outcome": "filtered"}), *rows[1:]],
            clips[1:],
        ),
        "kept without a clip": (sources, rows, clips[1:]),
        "with a clip but not kept": (
            sources,
            [first.model_copy(update={"outcome": "filtered", "reason": "dark"}), *rows[1:]],
            clips,
        ),
        "with two clips": (sources, rows, [*clips, clips[0]]),
    }
    for what, told in broken.items():
        with pytest.raises(
            RuntimeError, match=f"the ledger does not add up .*{what}: .*{sources[0].key[:12]}"
        ):
            check_accounts(*told)
