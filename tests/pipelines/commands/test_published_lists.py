"""Each published list, in a few rows of the shapes that the real one has, imported by the real command."""

import json

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from preprocessing.sources.source_list import read_sources

VOXCELEB = """video_id,start,end,bbox,fps,width,height,partition,person_id
6_oTQ_0Ynzw,2024,2345,394-101-797-504,25.0,1280,720,train,id10300
6_oTQ_0Ynzw,2024,2345,394-101-797-504,25.0,1280,720,train,id10300
KWGhMm2HeQE,81,214,1012-68-1304-360,25.0,1280,720,train,id10283
-_mILTQ9hUM,5406,5632,128--12-301-161,25.0,640,360,test,id10282
SyYHtfFl8bA,10,200,20-20-220-220,25.0,640,360,train,id10282
"""
TAICHI = """video_id,start,end,bbox,fps,width,height,partition
ByV1ePAQSaI#000,0,252,244-11-1051-718,29.97,1280,720,train
ByV1ePAQSaI#001,252,602,201-3-913-715,29.97,1280,720,train
YZ_taichi-1#000,12,344,90-0-360-270,25.0,480,360,test
"""
TED = """video_id,start,end,bbox,fps,width,height,partition
--0o7SNSHPU#0,0,0,163-12-509-358,30.0,640,360,train
u0bAuLqqF8U#1,151,424,210-3-566-359,30.0,640,360,test
"""
CELEBV_HQ = json.dumps(
    {
        "meta_info": {"appearance_mapping": ["Blurry"], "action_mapping": ["blow"]},
        "clips": {
            "M2Ohb0FAaJU_1": {
                "ytb_id": "M2Ohb0FAaJU",
                "duration": {"start_sec": 81.62, "end_sec": 86.17},
                "bbox": {"top": 0.0, "bottom": 0.8815, "left": 0.1964, "right": 0.6922},
                "attributes": {"appearance": [0], "action": [1], "emotion": {"sep_flag": False}},
                "version": "v0.1",
            },
            "-5RsMA8iS1k_5": {
                "ytb_id": "-5RsMA8iS1k",
                "duration": {"start_sec": 203.0, "end_sec": 206},
                "bbox": {"top": -0.01, "bottom": 1.002, "left": 0.3, "right": 0.87},
                "attributes": {},
                "version": "v0.1",
            },
        },
    }
)
TALKINGHEAD = """--Y9imYnfBw_0000,720,1280,0,271,504,63,792,351
--Y9imYnfBw_0000,720,1280,1015,1107,488,23,824,359
-7TMJtnhiPM_0001,1080,1920,0,57,697,-9,1240,534
"""
HDTF = {
    "RD_video_url.txt": "Radio1 https://www.youtube.com/watch?v=aaaaaaaaaa1\n"
    "Radio2 https://www.youtube.com/watch?v=aaaaaaaaaa2\n",
    "RD_annotion_time.txt": "Radio1.mp4 00:22-00:45 01:05-01:20 \nRadio2.mp4 1:02:10-1:02:40\n",
    "RD_resolution.txt": "Radio1.mp4 1080\nRadio2.mp4 0\n",
    "RD_crop_wh.txt": "Radio1_0.mp4 412 465 0 465\nRadio1_1.mp4 421 459 14 459\nRadio2_0.mp4 3 459 1 459\n",
    "WDA_video_url.txt": "WDA_AdamSchiff_000 https://www.youtube.com/watch?v=aaaaaaaaaa3\n",
    "WDA_annotion_time.txt": "WDA_AdamSchiff_000.mp4 0:36-1:20\n",
    "WDA_resolution.txt": "WDA_AdamSchiff_000.mp4 720\n",
    "WDA_crop_wh.txt": "WDA_AdamSchiff_000_0.mp4 380 512 0 512\n",
    "WRA_video_url.txt": "WRA_Boozman_000 https://www.youtube.com/watch?v=aaaaaaaaaa4\n",
    "WRA_annotion_time.txt": "WRA_Boozman_000.mp4 00:05-00:09\n",
}
VOXCELEB_TXT = {
    "txt/id10270/5r0dWxy17C8/00001.txt": "Identity  : \tid10270 \r\nReference : \t5r0dWxy17C8\r\n"
    "Offset    : \t 4\r\nFV Conf   : \t21.109\t(1)\r\nASD Conf  : \t8.019\r\n\r\n"
    "FRAME \tX \tY \tW \tH \r\n000151 \t276 \t72 \t135 \t135 \r\n000152 \t276 \t72 \t136 \t135 \r\n",
    "txt/id10270/5r0dWxy17C8/00002.txt": "Identity  : \tid10270 \r\nReference : \t5r0dWxy17C8\r\n"
    "Offset    : \t 4\r\nFV Conf   : \t21.109\t(1)\r\nASD Conf  : \t8.019\r\n\r\n"
    "FRAME \tX \tY \tW \tH \r\n000300 \t0.344 \t0.156 \t0.156 \t0.278 \r\n",
}
VFHQ = {
    "meta/Clip+iN7nNRpa3zA+P0+C0+F1537-1825.txt": "H 1080\nW 1920\nFPS 29.97\nCROP 660 120 1340 800\n",
    "meta/Clip+iN7nNRpa3zA+P1+C3+F9-200.txt": "H 1080\nW 1920\nFPS 29.97\nCROP -20 120 640 780\n",
}
LISTS = {
    "VoxCeleb": (
        "fomm-csv",
        {"vox-metadata.csv": VOXCELEB},
        4,
        {"duplicates": 1, "clamped": 2, "fixed_leaks": 1},
    ),
    "VoxCeleb's text files": ("voxceleb-txt", VOXCELEB_TXT, 2, {}),
    "Taichi": ("fomm-csv", {"taichi-metadata.csv": TAICHI}, 3, {}),
    "TED": ("fomm-csv", {"ted384-metadata.csv": TED}, 2, {}),
    "CelebV-HQ": ("celebv-json", {"celebvhq_info.json": CELEBV_HQ}, 2, {"clamped": 1}),
    "TalkingHead-1KH": ("talkinghead1kh", {"train_video_tubes.txt": TALKINGHEAD}, 3, {"clamped": 1}),
    "HDTF": ("hdtf", HDTF, 4, {"bad_rows": 1}),
    "VFHQ": ("vfhq", VFHQ, 2, {"clamped": 1}),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_published_list_is_imported_whole(tmp_path, name):
    format_name, files, num_rows, remarks = LISTS[name]
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    given = tmp_path / next(iter(files)) if len(files) == 1 else tmp_path
    output = tmp_path / "sources.csv"
    options = ["--format", format_name, "-o", str(output), "--fix-split", "--json"]
    done = CliRunner().invoke(app, ["sources", "import", str(given), *options])
    assert done.exit_code == 0, done.exception
    report = json.loads(done.stdout)
    rows = read_sources(output)
    assert len(rows) == report["num_rows"] == num_rows
    assert {row.list for row in rows} == {given.stem}
    found = {key: len(report[key]) for key in ("duplicates", "clamped", "fixed_leaks", "bad_rows", "skipped")}
    assert found == dict.fromkeys(found, 0) | remarks
