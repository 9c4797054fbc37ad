import pytest

from preprocessing.clips.fingerprints import result_fingerprint, sightings_fingerprint


def changed(settings, **changes):
    """Return the settings with some keys changed, by section and key."""
    for dotted, value in changes.items():
        section, _, key = dotted.partition("__")
        part = getattr(settings, section)
        update = part.model_copy(update={key: value}) if key else value
        settings = settings.model_copy(update={section: update})
    return settings


def fingerprints(source, settings, video="0" * 64, networks=("n",)):
    return tuple(
        function(source, video, settings, networks)
        for function in (sightings_fingerprint, result_fingerprint)
    )


@pytest.mark.parametrize(
    ("changes", "new_sightings", "new_result"),
    [
        ({"quality__min_num_frames": 7}, False, True),
        ({"crop__size_px": 32}, False, True),
        ({"track__min_iou": 0.5}, False, True),
        ({"detect__every_num_frames": 7}, True, True),
        ({"fps": 30}, True, True),
        ({"jpeg_quality": 40}, False, True),
        ({"webp_quality": 40}, False, False),
        ({"codec": "webp"}, False, True),
        ({"num_parallel": 9}, False, False),
        ({"timeout_s": 9.0}, False, False),
        ({"test_fraction": 0.5}, False, False),
        ({"seed": 9}, False, False),
        ({"identity__across_sources": True}, False, False),
        ({"quality__min_duplicate_similarity": None}, False, False),
    ],
)
def test_a_setting_renews_just_what_depends_on_it(
    make_source, shards_settings, changes, new_sightings, new_result
):
    source = make_source()
    before = fingerprints(source, shards_settings)
    after = fingerprints(source, changed(shards_settings, **changes))
    assert [a != b for a, b in zip(after, before, strict=True)] == [new_sightings, new_result]


def test_another_video_or_network_renews_everything(make_source, shards_settings):
    source = make_source()
    before = fingerprints(source, shards_settings)
    for other in ({"video": "1" * 64}, {"networks": ("m",)}):
        after = fingerprints(source, shards_settings, **other)
        assert not set(after) & set(before)


def test_notes_on_a_source_renew_nothing_and_its_part_renews_the_result(make_source, shards_settings):
    before = fingerprints(make_source(), shards_settings)
    assert fingerprints(make_source(note="seen", source_id="x"), shards_settings) == before
    sightings, result = fingerprints(make_source(identity="ann"), shards_settings)
    assert (sightings == before[0], result == before[1]) == (True, False)


def test_the_listed_box_counts_for_rules_without_a_detector_alone(make_source, shards_settings):
    plain, boxed = make_source(), make_source(bbox=(0.0, 0.0, 9.0, 9.0), bbox_size=(64, 48))
    video, networks = "0" * 64, ()
    body = changed(shards_settings, crop__rule="body")
    for settings, is_equal in ((shards_settings, True), (body, False)):
        found = [sightings_fingerprint(source, video, settings, networks) for source in (plain, boxed)]
        assert (found[0] == found[1]) == is_equal
