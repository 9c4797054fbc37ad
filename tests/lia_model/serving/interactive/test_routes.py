import io

import numpy as np
import pytest
from PIL import Image

from preprocessing.media.video_reader import decode
from tests.lia_model.serving.page_service import page_service
from tests.lia_model.serving.service import assert_refused, png


@pytest.fixture(scope="module")
def photo(samples):
    frame = next(iter(decode(samples / "single_face.mp4"))).image
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def service(tmp_path_factory, models, samples):
    with page_service(tmp_path_factory.mktemp("service"), models, samples) as service:
        yield service


def pixels(answer):
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image)


def as_form(**fields):
    """Return fields as a form with files, without a file."""
    return {name: (None, value) for name, value in fields.items()}


def test_directions_count_from_one_and_keep_the_names_they_are_given(service):
    found = service.client.get("/v1/directions").json()
    assert (found["size_px"], found["model"]) == (32, {"name": "lia", "version": "1"})
    assert [one["number"] for one in found["directions"]] == [1, 2, 3, 4]
    assert service.client.put("/v1/directions/3", json={"name": " smile "}).json()["name"] == "smile"
    named = service.client.get("/v1/directions").json()["directions"]
    assert [one["name"] for one in named] == ["", "", "smile", ""]
    service.client.put("/v1/directions/3", json={"name": ""})
    assert service.client.get("/v1/directions").json() == found


def test_a_direction_that_does_not_exist_cannot_be_named(service):
    for number in (0, 5):
        answer = service.client.put(f"/v1/directions/{number}", json={"name": "x"})
        assert_refused(answer, 404, "not_found", "1 to 4")


def test_a_kept_portrait_is_painted_as_its_source_and_weights_move_it(service, photo):
    post = service.client.post
    first = post("/v1/manipulations", files={"source": photo})
    assert first.headers["content-type"] == "image/png"
    portrait = first.headers["LIA-Portrait"]
    still = pixels(post("/v1/manipulations", files=as_form(portrait=portrait, weights="0,0,0,0")))
    assert still.shape == (32, 32, 3)
    np.testing.assert_array_equal(still, pixels(first))
    moved = post("/v1/manipulations", files=as_form(portrait=portrait, weights="0,3,0,0"))
    assert moved.headers["LIA-Portrait"] == portrait
    assert (pixels(moved) != still).any()
    again = post("/v1/manipulations", files={"source": photo, **as_form(weights="0,3,0,0")})
    np.testing.assert_array_equal(pixels(again), pixels(moved))


def test_a_picture_comes_as_the_format_asked_for(service, photo):
    answer = service.client.post("/v1/manipulations", files={"source": photo, **as_form(format="jpeg")})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content.startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("fields", "status", "code", "word"),
    [
        ({"portrait": "none"}, 404, "unknown_portrait", "source again"),
        ({"weights": "0,0,0,0"}, 422, "bad_field", "neither"),
        ({"source": True, "portrait": "x"}, 422, "bad_field", "both"),
        ({"source": True, "weights": "1,2"}, 422, "bad_field", "send 4"),
        ({"source": True, "weights": "nan,0,0,0"}, 422, "bad_field", "finite"),
        ({"source": True, "weights": "a,b"}, 422, "bad_field", "commas"),
        ({"source": True, "wieghts": "0,0,0,0"}, 422, "bad_field", "wieghts"),
        ({"source": True, "face": "7"}, 422, "no_such_face", "got face 7"),
        ({"source": True, "square": "90000:0:10"}, 422, "bad_options", "outside"),
        ({"source": True, "square": "1:2"}, 422, "bad_field", "square"),
    ],
)
def test_a_wrong_manipulation_is_refused_with_the_reason(service, photo, fields, status, code, word):
    files = {name: photo if value is True else (None, value) for name, value in fields.items()}
    assert_refused(service.client.post("/v1/manipulations", files=files), status, code, word)


def test_a_picture_without_a_face_is_refused_unless_a_square_is_given(service):
    answer = service.client.post("/v1/manipulations", files={"source": png()})
    assert_refused(answer, 422, "no_face", "no face")
    squared = service.client.post("/v1/manipulations", files={"source": png(), **as_form(square="4:4:32")})
    assert squared.status_code == 200


def test_a_crop_shows_the_face_and_the_square_around_it(service, photo, samples):
    from_photo = service.client.post("/v1/crops", files={"picture": photo}).json()
    assert from_photo["rule"] == "face"
    (face,) = from_photo["faces"]
    square = from_photo["square"]
    assert square["left"] < face["left"] < face["right"] < square["right"] <= from_photo["width"] * 2
    assert square["right"] - square["left"] == square["bottom"] - square["top"]
    clip = ("clip.mp4", (samples / "single_face.mp4").read_bytes())
    assert service.client.post("/v1/crops", files={"picture": clip}).json() == from_photo


def test_a_crop_without_a_face_has_no_square(service):
    crop = service.client.post("/v1/crops", files={"picture": png()}).json()
    assert (crop["width"], crop["height"], crop["faces"], crop["square"]) == (40, 40, [], None)


def test_no_upload_of_a_preview_stays_on_the_disk(service, photo):
    before = sorted(service.media.iterdir()) if service.media.exists() else []
    service.client.post("/v1/crops", files={"picture": photo})
    service.client.post("/v1/crops", files={"picture": ("a.png", b"\x89PNG broken")})
    assert sorted(service.media.iterdir()) == before


def test_samples_are_listed_and_nothing_else_is_read(service, samples):
    listed = service.client.get("/v1/samples").json()["samples"]
    assert "single_face.mp4" in [one["name"] for one in listed]
    for one in listed:
        assert service.client.get(one["url"]).content == (samples / one["name"]).read_bytes()
    for name in ("%2e%2e%2fsources.csv", "..%2f..%2fREADME.md", "none.mp4"):
        assert service.client.get(f"/v1/samples/{name}").status_code == 404
