import pytest

from lia_model.evaluation.page import evaluation_page, left_out
from tests.lia_model.shards_on_disk import make_manifest
from tests.parsed_page import ParsedPage

MANIFEST = make_manifest(64)


@pytest.fixture
def page(report, rows, pictures):
    return ParsedPage(evaluation_page(report, rows, MANIFEST, pictures))


def test_the_page_opens_offline_and_every_picture_has_a_text(page):
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert all("source, driving, result, <other>" in image["alt"] for image in page.images)


def test_a_figure_has_the_clips_it_shows_as_id(page):
    reconstructions = [f"{clip}-whole" for clip in "acb"]
    assert list(page.figures) == reconstructions + [f"{clip}-whole--z-whole" for clip in "abc"]


def test_all_tables_are_on_the_page(page):
    assert list(page.tables) == [
        "Means over clips, reconstruction", "Means over clips, cross-identity", "Distances of sets",
        "Reconstruction", "Transfer", "Published numbers and ours",
    ]  # fmt: skip


def test_published_numbers_stand_beside_ours_with_the_protocol_of_this_evaluation(page):
    (ours,) = [line for line in page.tables["Published numbers and ours"] if line[0] == "this model"]
    assert ours[-1].startswith(
        "3 held-out clips, 12 frames, 64 px, 25 fps, fomm_square, split in part by time"
    )
    assert "shards 1234567890ab" in ours[-1]
    assert "landmarks by dlib 68, identity by dlib 128-d" in ours[-1]
    assert "Numbers of different protocols are not comparable." in page.text


def test_what_is_missing_is_shown_with_its_reason(page):
    assert "FVD no <network>" in page.text
    assert "AED no face" in page.text
    assert "2 clips have no named identity" in page.text


def test_lists_shards_and_weights_are_named_by_their_hashes(page):
    for digest in ("fedcba" * 8, "1234567890abcdef" * 4, "aa" * 32, "bb" * 32):
        assert digest in page.text
    assert ", version 7" in page.text


def test_a_skipped_protocol_is_named_with_its_reason(report, rows, pictures):
    skipped = [{"what": "cross_identity", "reason": "one identity only"}]
    rows = [each for each in rows if each["protocol"] == "reconstruction"]
    page = ParsedPage(evaluation_page(report | {"skipped": skipped}, rows, MANIFEST, pictures))
    assert "Left out: one identity only." in page.text
    assert len(page.figures) == 3


def test_a_page_without_landmarks_says_so_and_shows_transfers(report, rows, pictures):
    bare = [each | {"motion": None, "csim": None, "mkr": None, "akd": None} for each in rows]
    summary = [one for one in report["summary"] if one["metric"] in ("l1", "lpips", "psnr", "ssim")]
    changed = report | {"summary": summary, "measured_by": []}
    page = ParsedPage(evaluation_page(changed, bare, MANIFEST, pictures))
    assert len(page.figures) == 6
    assert "no landmark model" in page.text
    assert "Nothing was computed; the reasons are below." in page.text


def test_what_is_left_out_is_gathered_by_reason():
    skipped = [{"what": what, "reason": "none"} for what in ("akd", "fid")]
    assert left_out([*skipped, {"what": "cross_identity", "reason": "alone"}]) == {
        "none": ["AKD", "FID"],
        "alone": ["cross-identity"],
    }
