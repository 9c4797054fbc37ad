import json

import pytest

from preprocessing.media.boxes import Box
from preprocessing.sources.importers.celebv_json import read_celebv

CLIP = {
    "ytb_id": "M2Ohb0FAaJU",
    "duration": {"start_sec": 81.62, "end_sec": 86.17},
    "bbox": {"top": 0.05, "bottom": 0.95, "left": 0.25, "right": 0.75},
    "attributes": {"appearance": [0, 1], "action": [1], "emotion": {"sep_flag": False, "labels": "neutral"}},
    "version": "v0.1",
}


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "info.json"
        path.write_text(json.dumps(content))
        return read_celebv(path)

    return read


def test_a_clip_becomes_a_row(read):
    (row,) = read({"meta_info": {"appearance_mapping": []}, "clips": {"M2Ohb0FAaJU_1": CLIP}})
    assert row.url == "https://www.youtube.com/watch?v=M2Ohb0FAaJU"
    assert (row.place, row.start_s, row.end_s) == ("M2Ohb0FAaJU_1", 81.62, 86.17)
    assert (row.box, row.frame_size) == (Box(2500, 500, 7500, 9500), (10_000, 10_000))


def test_bad_clips_are_named_and_left_out(read):
    clips = {
        "good": CLIP,
        "times": CLIP | {"duration": {"start_sec": 5, "end_sec": 5}},
        "missing": {key: value for key, value in CLIP.items() if key != "bbox"},
        "text": CLIP | {"duration": {"start_sec": "soon", "end_sec": 5}},
        "empty": CLIP | {"bbox": {"top": 0.5, "bottom": 0.5, "left": 0.25, "right": 0.75}},
        "id": CLIP | {"ytb_id": "no id"},
        "none": None,
    }
    found = read({"clips": clips})
    assert [row.place for row in found] == ["good"]
    assert [problem.partition(": got ")[0] for problem in found.problems] == [*clips][1:]


@pytest.mark.parametrize("content", [[], {}, {"clips": [1]}, 3])
def test_another_json_file_is_refused(read, content):
    with pytest.raises(ValueError, match="without an object `clips`"):
        read(content)
