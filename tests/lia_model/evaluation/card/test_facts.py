import dataclasses

import pytest


def section(facts, title):
    return next(one for one in facts.sections() if one.title == title)


def test_the_data_are_counted_by_people_videos_clips_and_frames(facts):
    data = dict(section(facts, "Data").terms)
    assert data["trained on"] == "2 people, 3 videos, 3 clips, 75 frames"
    assert data["held out"] == "1 person, 1 video, 1 clip, 25 frames; 1 of the clips split by time"


def test_limits_follow_from_what_is_on_record(facts):
    limits = " ".join(section(facts, "Limits").points)
    assert "say nothing about people it was not trained on" in limits
    assert "Not measured: FVD: no <network>." in limits
    assert "not better than copying the source picture in L1, PSNR, SSIM, LPIPS" in limits
    assert "Not for commercial use" in limits
    body = dataclasses.replace(facts, crop_rule="body")
    assert "crop rule body" in " ".join(section(body, "Limits").points)


@pytest.mark.parametrize(("is_disjoint", "word"), [(True, "none"), (False, "some"), (None, "not known")])
def test_who_is_in_both_splits_is_said_with_the_reason(facts, is_disjoint, word):
    changes = {"identity_disjoint": is_disjoint, "identity_disjoint_reason": "because of X"}
    stated = dataclasses.replace(facts, manifest=facts.manifest.model_copy(update=changes))
    assert dict(section(stated, "Data").terms)["people in both"] == f"{word}: because of X"
    limits = " ".join(section(stated, "Limits").points)
    assert ("not known whether the held-out clips show people it was trained on: because of X" in limits) == (
        is_disjoint is None
    )


def test_what_is_not_on_record_is_said_to_be_so(without_evidence):
    assert "not at hand" in dict(section(without_evidence, "Data").terms)["clips and people"]
    assert "No evaluation of these weights" in section(without_evidence, "Evaluation").paragraphs[0]
    limits = " ".join(section(without_evidence, "Limits").points)
    assert "Not evaluated beyond the release gate." in limits
    assert "commercial" not in limits


def test_the_code_that_loads_it_names_this_version(facts):
    code = section(facts, "How to load it").code
    assert code.count("models:/lia/3") == 3
    compile(code, "card", "exec")
