from itertools import combinations

import numpy as np
import pytest

from preprocessing.clips.splitting.identities import name_people
from preprocessing.faces.people import Person

LIMIT = 0.6
NUM_PEOPLE = 6


def person(who, num_frames=9, random=None):
    """Return a person whose embeddings differ by about 0.1 between sightings, and by 1.4 from others'."""
    noise = 0 if random is None else random.normal(scale=0.03, size=NUM_PEOPLE)
    return Person(num_frames=num_frames, embedding=(np.eye(NUM_PEOPLE)[who] + noise).tolist())


@pytest.fixture
def random_world(make_source):
    """Function `seed -> sources, who is in each, their persons`: parts of six videos, without identity."""

    def make(seed):
        random = np.random.default_rng(seed)
        sources = [
            make_source(f"http://a.org/{number // 2}.mp4", start_s=float(number)) for number in range(12)
        ]
        seen = [random.permutation(NUM_PEOPLE)[: random.integers(4)].tolist() for _ in sources]
        people = [[person(who, int(random.integers(1, 99)), random) for who in each] for each in seen]
        return sources, seen, people

    return make


def names_of(sources, people, limit=LIMIT):
    """Return the name of each person of each source, in order."""
    names = name_people(sources, people, limit).names
    return [
        [names[source.row_key, number] for number in range(len(found))]
        for source, found in zip(sources, people, strict=True)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_two_appearances_have_one_name_exactly_if_they_show_one_person(random_world, seed):
    sources, seen, people = random_world(seed)
    pairs = [
        (name, who)
        for names, each in zip(names_of(sources, people), seen, strict=True)
        for name, who in zip(names, each, strict=True)
    ]
    assert all((name == other) == (who == whom) for (name, who), (other, whom) in combinations(pairs, 2))


@pytest.mark.parametrize("seed", range(5))
def test_without_a_distance_every_appearance_has_a_name_of_its_own(random_world, seed):
    sources, seen, people = random_world(seed)
    names = [name for each in names_of(sources, people, None) for name in each]
    assert len(set(names)) == len(names) == sum(map(len, seen))


@pytest.mark.parametrize("seed", range(5))
def test_later_sources_leave_the_names_of_earlier_ones(random_world, seed):
    sources, _, people = random_world(seed)
    whole = name_people(sources, people, LIMIT).names
    for number in range(len(sources)):
        assert name_people(sources[:number], people[:number], LIMIT).names.items() <= whole.items()


def test_a_face_between_two_people_joins_neither_to_the_other_but_matches_both(make_source):
    sources = [make_source(f"http://a.org/{number}.mp4") for number in range(3)]
    people = [[Person(num_frames=9, embedding=[place, 0.0])] for place in (0.0, 1.0, 0.45)]
    names, matches, _ = name_people(sources, people, LIMIT)
    first, second, between = (names[source.row_key, 0] for source in sources)
    assert first == between != second
    assert {names[other] for other in matches[sources[2].row_key, 0]} == {first, second}


def test_a_new_name_tells_the_first_source_and_the_number_of_the_person(make_source):
    whole = make_source("http://a.org/1.mp4")
    part = make_source("http://a.org/1.mp4", start_s=1.0)
    names = names_of([whole, part], [[person(0), person(1)], [person(2)]])
    assert names[0] == [f"unnamed-{whole.key[:12]}-0", f"unnamed-{whole.key[:12]}-1"]
    assert names[1] == [f"unnamed-{part.key[:12]}-{part.row_key[-8:]}-0"]


@pytest.mark.parametrize(
    ("num_frames", "main"), [((9, 5, 3), 0), ((3, 9, 5), 1), ((3, 5, 9), 2), ((9, 9, 3), 0), ((3, 9, 9), 1)]
)
@pytest.mark.parametrize("limit", [LIMIT, None])
def test_a_listed_identity_names_who_is_seen_longest(make_source, num_frames, main, limit):
    people = [person(who, count) for who, count in enumerate(num_frames)]
    (names,) = names_of([make_source(identity="Ada")], [people], limit)
    assert [name == "Ada" for name in names] == [number == main for number in range(3)]
    assert len(set(names)) == 3


def test_a_listed_identity_also_names_the_person_in_other_sources(make_source):
    sources = [make_source("http://a.org/1.mp4", identity="Ada"), make_source("http://a.org/2.mp4")]
    names = names_of(sources, [[person(0)], [person(1, 99), person(0, 1)]])
    assert names[0] == ["Ada"]
    assert names[1][1] == "Ada"
    assert names[1][0].startswith("unnamed-")


def test_two_listed_identities_with_one_face_stay_two_and_are_reported(make_source):
    sources = [
        make_source(f"http://a.org/{number}.mp4", identity=name)
        for number, name in enumerate(["Cy", "Ada", "Bo", None, "Eve"])
    ]
    identities = name_people(sources, [[person(0)]] * 4 + [[person(1)]], LIMIT)
    assert identities.lookalikes == [("Ada", "Bo"), ("Ada", "Cy"), ("Bo", "Cy")]
    listed = [identities.names[source.row_key, 0] for source in sources]
    assert listed[:3] == ["Cy", "Ada", "Bo"]
    # It is unclear which of them this is.
    assert listed[3].startswith("unnamed-")


def test_one_listed_identity_may_have_two_faces(make_source):
    sources = [make_source(f"http://a.org/{number}.mp4", identity="Ada") for number in range(2)]
    identities = name_people(sources, [[person(0)], [person(1)]], LIMIT)
    assert set(identities.names.values()) == {"Ada"}
    assert identities.lookalikes == []


@pytest.mark.parametrize("limit", [LIMIT, None])
def test_sources_without_people_have_no_names(make_source, limit):
    assert name_people([make_source(identity="Ada")], [[]], limit) == ({}, {}, [])
