from lia_model.registry.licences import gather_licences, licence_tags, licences_in


def test_every_part_has_its_licence_and_videos_are_counted_by_theirs():
    found = gather_licences("research only", {"perceptual": {"backbone": "vgg16"}}, ["CC0", None, "CC0"])
    assert found["detector"] == "research only"
    assert found["features"].startswith("vgg16 trained on ImageNet, whose images are for non-commercial")
    assert found["data"] == "CC0 (2 videos), no licence listed (1 video)"


def test_a_model_without_a_frozen_network_is_told_from_one_that_does_not_record_it():
    assert gather_licences(None, {"perceptual": None}, [])["features"] == "no frozen network"
    nothing = dict.fromkeys(("detector", "features", "data"), "not recorded")
    assert gather_licences(None, {}, []) == nothing


def test_licences_are_read_back_from_tags():
    licences = {"detector": "a", "data": "b"}
    assert licences_in(licence_tags(licences) | {"lia.gate": "passed"}) == licences
