import pytest

from lia_model.data.pair_choice import choose_pairs
from lia_model.data.pair_list import read_pair_list, write_pair_list
from lia_model.data.pair_reader import PairReader


def test_a_written_list_is_read_back_and_held_by_its_shards(shards, settings, tmp_path):
    reader = PairReader(shards)
    pairs = choose_pairs(reader, settings)
    write_pair_list(pairs, tmp_path / "list.json")
    assert read_pair_list(tmp_path / "list.json") == pairs
    reader.require(pairs)
    lines = (tmp_path / "list.json").read_text().splitlines()
    assert sum('"protocol"' in line for line in lines) == len(pairs.pairs)


@pytest.mark.parametrize("content", ["{}", "no json", '{"format_version": 2}'])
def test_a_file_that_is_no_list_is_one_line(tmp_path, content):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"list\.json is not an evaluation list .*: name an evaluation_list\.json"
    ):
        read_pair_list(tmp_path / "list.json")
    with pytest.raises(ValueError, match="does not exist"):
        read_pair_list(tmp_path / "none.json")
