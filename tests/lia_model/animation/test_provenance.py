import hashlib

import av

from lia_model.animation.file import AnimationRequest, animate_file
from lia_model.animation.provenance import provenance_tags
from lia_model.animation.run import AnimationRun


def test_a_result_says_that_it_is_synthetic_by_which_model_and_from_what(
    animator, portrait, driving, tmp_path
):
    output = tmp_path / "out.mp4"
    animate_file(
        AnimationRun(animator, None, model="models:/lia/3"), AnimationRequest(portrait, driving, output)
    )
    with av.open(str(output)) as container:
        tags = container.metadata
    expected = provenance_tags("models:/lia/3", animator.fingerprint, portrait)
    assert {name: tags[name] for name in expected} == expected
    assert tags["synthetic"] == "true"
    assert tags["model"] == "models:/lia/3"
    assert tags["source_sha256"] == hashlib.sha256(portrait.read_bytes()).hexdigest()
    assert "models:/lia/3" in tags["comment"]


def test_the_tags_tell_neither_name_nor_folder_of_the_source(animator, portrait):
    tags = provenance_tags("lia", animator.fingerprint, portrait)
    assert not any(word in value for value in tags.values() for word in (portrait.name, str(portrait.parent)))
