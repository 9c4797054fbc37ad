import hashlib
from fractions import Fraction

import av
import numpy as np
import pytest

from lia_model.animation.options import AnimationOptions
from lia_model.serving.messages import PROJECT_HEADER, project_mark
from preprocessing.media.video_writer import VideoWriter
from tests.lia_model.serving.live import live
from tests.lia_model.serving.service import assert_refused, png


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, Fraction(25), (32, 32)) as writer:
        for _ in range(3):
            writer.write(np.zeros((32, 32, 3), dtype=np.uint8))
    return path.read_bytes()


def test_a_new_animation_is_queued_with_its_uploads_on_the_disk(service, mp4):
    answer = service.post(driving=("b.mp4", mp4), mode="absolute", crop="false")
    assert answer.status_code == 202
    body = answer.json()
    itself = f"/v1/animations/{body['id']}"
    assert body["status"] == "queued"
    assert body["links"] == {"self": itself, "video": f"{itself}/video"}
    job = service.claim()
    assert (job.id, job.order.options) == (body["id"], AnimationOptions(mode="absolute", crop=False))
    assert job.order.source.read_bytes() == png()
    assert job.order.driving.read_bytes() == mp4


def test_the_status_follows_the_job_from_queue_to_video(service):
    links = service.post().json()["links"]
    waiting = service.ask("GET", links["self"]).json()
    assert (waiting["status"], waiting["progress"], waiting["error"]) == ("queued", 0, None)
    assert waiting["model"] == {"name": "lia", "version": "3"}
    assert_refused(service.ask("GET", links["video"]), 409, "not_ready", "queued")
    job = service.claim()
    service.jobs.advance(job, 1, 4)
    running = service.ask("GET", links["self"]).json()
    assert (running["status"], running["progress"]) == ("running", 0.25)
    assert (running["frames_done"], running["frames_total"]) == (1, 4)
    service.jobs.give_back(job, "accident")
    service.finish()
    done = service.ask("GET", links["self"]).json()
    assert (done["status"], done["progress"], done["frames_done"]) == ("succeeded", 1, 3)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"mode": "sideways"}, "mode"),
        ({"crop": "perhaps"}, "crop"),
        ({"face": "left"}, "face"),
        ({"face": "all"}, "add paste_back"),
        ({"crops": "true"}, "crops"),
        ({"model": "models:/lia/2"}, "models:/lia/3"),
    ],
)
def test_a_bad_field_is_refused_by_name(service, fields, word):
    assert_refused(service.post(**fields), 422, "bad_field", word)


def test_a_field_may_be_given_as_it_is_served(service):
    assert service.post(model="models:/lia/3", paste_back="false").status_code == 202


def test_a_missing_file_is_a_bad_field(service):
    answer = service.ask("POST", "/v1/animations", files={"source": ("a.png", png())})
    assert_refused(answer, 422, "bad_field", "driving")


def test_health_models_and_the_description_are_there(service):
    assert service.ask("GET", "/healthz").json() == {"status": "ok"}
    only = {"name": "lia", "version": "3"}
    told = only | {"aliases": [], "is_default": True, "is_loaded": True, "licences": {}}
    assert service.ask("GET", "/v1/models").json() == {"models": [only], "available": [told]}
    paths = service.ask("GET", "/openapi.json").json()["paths"]
    assert set(paths["/v1/animations"]["post"]["responses"]) >= {"202", "400", "413", "415", "422", "429"}
    assert {"/v1/animations/{job_id}/video", "/v1/batches", "/v1/batches/{batch_id}"} <= set(paths)


def test_the_health_check_marks_the_project_without_naming_its_folder(service):
    answer = service.ask("GET", "/healthz")
    assert answer.headers[PROJECT_HEADER] == project_mark(service.root) != project_mark(service.root / "copy")
    assert not any(service.root.name in value for value in answer.headers.values())


def test_a_result_names_the_model_and_the_source_it_was_made_of(tmp_path):
    with live(tmp_path, version="2") as service, service.running("2"):
        link = service.submit()
        service.ended(link)
        (tmp_path / "result.mp4").write_bytes(service.client.get(f"{link}/video").content)
    with av.open(str(tmp_path / "result.mp4")) as container:
        tags = container.metadata
    assert (tags["synthetic"], tags["model"]) == ("true", "models:/lia/2")
    assert tags["source_sha256"] == hashlib.sha256(png()).hexdigest()


def test_head_is_answered_as_get_without_the_body(tmp_path):
    with live(tmp_path) as service, service.running():
        link = service.submit()
        service.ended(link)
        for path in ("/healthz", "/v1/models", "/openapi.json", link, f"{link}/video", "/nowhere"):
            got, head = service.client.get(path), service.client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert head.headers["content-length"] == got.headers["content-length"] != "0"
            assert head.headers["content-type"] == got.headers["content-type"]
        head = service.client.head(f"{link}/video", headers={"Range": "bytes=0-9"})
        assert (head.status_code, head.headers["content-length"]) == (206, "10")
