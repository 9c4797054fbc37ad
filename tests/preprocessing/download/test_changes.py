from dataclasses import replace

from preprocessing.clips.units import group_into_units
from preprocessing.download.changes import difference, invalid_row
from preprocessing.sources.source_list import BadRow


def test_every_row_of_list_and_ledger_is_in_exactly_one_place(make_source):
    sources = [make_source(f"http://a.org/{number}.mp4") for number in range(6)]
    renamed = replace(sources[2], identity="ann")
    found = difference([sources[0], sources[1], renamed, *sources[3:5]], iter(sources[1:]))
    assert found.new == sources[:1]
    assert found.changed == [renamed]
    assert sorted(found.unchanged, key=lambda source: source.url) == [sources[1], *sources[3:5]]
    assert found.removed == [sources[5].row_key]
    assert str(found) == "1 new, 1 changed, 3 unchanged, 1 removed"


def test_equal_bad_rows_have_different_keys():
    one, other = (invalid_row(BadRow(line, "v.mp4", "got url 'v.mp4'")) for line in (3, 4))
    assert one.source.row_key != other.source.row_key
    assert one.download.error == "line 3: got url 'v.mp4'"


def test_units_are_of_equal_size_and_parts_of_a_video_stay_together(make_source):
    sources = [
        make_source(f"http://a.org/{number}.mp4", start_s=start)
        for number in range(10)
        for start in (0.0, 5.0)
    ]
    units = group_into_units(sources, 4, lambda source: source)
    assert sorted(len(unit) for unit in units) == [4, 4, 6, 6]
    assert sum(len({source.key for source in unit}) for unit in units) == 10
    assert group_into_units(sources[::-1], 4, lambda source: source) == units
    assert len(group_into_units(sources[:2], 4, lambda source: source)) == 1
