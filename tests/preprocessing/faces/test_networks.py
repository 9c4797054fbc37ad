import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from preprocessing.faces.detector import ARCFACE_SAME_PERSON_DISTANCE
from preprocessing.faces.embedder import DLIB_SAME_PERSON_DISTANCE, EMBEDDING_FILE, LANDMARK_FILE
from preprocessing.faces.networks import (
    load_networks,
    network_hashes,
    person_limits,
    require_networks,
)
from preprocessing.media.video_reader import decode


@pytest.fixture
def detect(shards_settings):
    return shards_settings.detect


@pytest.fixture
def identity(shards_settings):
    return shards_settings.identity


@pytest.fixture
def no_identity(identity):
    return identity.model_copy(update={"models": None})


@pytest.fixture
def empty_weights(tmp_path, detect, identity):
    """A project whose files of weights have the right names and no use."""
    for path in (
        tmp_path / detect.models / "detector.onnx",
        tmp_path / identity.models / LANDMARK_FILE,
        tmp_path / identity.models / EMBEDDING_FILE,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    return tmp_path


@pytest.fixture
def with_recognition(tmp_path, models, detect):
    """A project whose detector stands beside a network that embeds a face as its mean colour."""
    folder = tmp_path / detect.models
    folder.mkdir(parents=True)
    (folder / "scrfd.onnx").symlink_to(models / "scrfd" / "scrfd.onnx")
    mean = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["image"], ["embedding"])],
        "mean_colour",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3, 1, 1])],
    )
    model = helper.make_model(mean, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "recognition.onnx")
    return tmp_path


def image_of(samples, name):
    return next(decode(samples / name)).image


def test_all_fetched_weights_are_enough(models, detect, identity):
    require_networks(models.parent, detect, identity)


@pytest.mark.parametrize("name", [LANDMARK_FILE, EMBEDDING_FILE])
def test_missing_weights_of_dlib_are_named_with_the_remedy(
    empty_weights, detect, identity, no_identity, name
):
    (empty_weights / identity.models / name).unlink()
    with pytest.raises(ValueError, match=f"got no {name} in .*; run `lia fetch models`, or set") as caught:
        require_networks(empty_weights, detect, identity)
    assert "\n" not in str(caught.value)
    require_networks(empty_weights, detect, no_identity)


def test_a_missing_detector_is_named_with_the_remedy(empty_weights, detect, no_identity):
    (empty_weights / detect.models / "detector.onnx").unlink()
    with pytest.raises(ValueError, match=r"got no face detector at .*; run `lia fetch models`"):
        require_networks(empty_weights, detect, no_identity)


def test_without_identity_models_faces_are_detected_but_not_embedded(models, samples, detect, no_identity):
    detector, recognizer = load_networks(models.parent, detect, no_identity)
    assert len(detector.detect(image_of(samples, "single_face.mp4"))) == 1
    assert recognizer is None


def test_embeddings_of_dlib_tell_two_people_apart(models, samples, detect, identity):
    detector, recognizer = load_networks(models.parent, detect, identity)

    def embedding(image):
        return recognizer(image, detector.detect(image)[0])

    one = image_of(samples, "single_face.mp4")
    embeddings = [
        embedding(one),
        embedding(one[:, ::-1]),
        embedding(image_of(samples, "WolfgangLanger_Pexels.mp4")),
    ]
    assert {(each.dtype, each.shape) for each in embeddings} == {(np.dtype(np.float32), (128,))}
    first, mirrored, other = embeddings
    limit = person_limits(models.parent, detect, identity).person_distance
    assert np.linalg.norm(first - mirrored) < limit < np.linalg.norm(first - other)


def test_a_recognition_network_beside_the_detector_is_preferred_to_dlib(
    with_recognition, samples, detect, identity, no_identity
):
    # There are no weights of dlib in this project.
    detector, recognizer = load_networks(with_recognition, detect, identity)
    image = image_of(samples, "single_face.mp4")
    embedding = recognizer(image, detector.detect(image)[0])
    assert (embedding.dtype, embedding.shape) == (np.float32, (3,))
    assert np.linalg.norm(embedding) == pytest.approx(1)
    assert load_networks(with_recognition, detect, no_identity)[1] is None


def test_networks_are_loaded_once_for_the_same_settings(models, detect, no_identity):
    first, _ = load_networks(models.parent, detect, no_identity)
    assert load_networks(models.parent, detect, no_identity)[0] is first
    stricter = detect.model_copy(update={"min_score": 0.9})
    assert load_networks(models.parent, stricter, no_identity)[0] is not first


def test_hashes_follow_the_bytes_of_each_network(tmp_path, detect, identity, no_identity):
    found = set()
    for contents in ("aaa", "baa", "aba", "aab"):
        # The hash of a file is cached, so each project has its own files.
        root = tmp_path / contents
        files = (
            root / detect.models / "d.onnx",
            root / identity.models / LANDMARK_FILE,
            root / identity.models / EMBEDDING_FILE,
        )
        for path, content in zip(files, contents, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        hashes = network_hashes(root, detect, identity)
        assert network_hashes(root, detect, no_identity) == hashes[:1]
        found.add(tuple(hashes))
    assert len(found) == 4


def test_the_distance_is_the_setting_or_else_that_of_the_network_in_use(
    with_recognition, models, detect, identity
):
    own = identity.model_copy(update={"max_distance": 0.123})
    default = identity.model_copy(update={"max_distance": None})
    assert person_limits(models.parent, detect, own).person_distance == 0.123
    calibrated = person_limits(models.parent, detect, default)
    assert calibrated.calibration is not None
    assert calibrated.person_distance == calibrated.calibration.max_distance < DLIB_SAME_PERSON_DISTANCE
    assert calibrated.person_distance <= calibrated.face_distance
    assert person_limits(with_recognition, detect, default).person_distance == ARCFACE_SAME_PERSON_DISTANCE
