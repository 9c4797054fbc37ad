import asyncio
import io
from fractions import Fraction

import httpx
import numpy as np
import pytest
from PIL import Image

from lia_model.animation.options import AnimationOptions
from lia_model.serving.api import build_api
from lia_model.serving.job_requests import ApiLimits
from lia_model.serving.jobs import JobStore
from lia_model.serving.messages import ModelVersion
from preprocessing.media.video_writer import VideoWriter


def png():
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), 90, dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, Fraction(25), (32, 32)) as writer:
        for _ in range(3):
            writer.write(np.zeros((32, 32, 3), dtype=np.uint8))
    return path.read_bytes()


class Service:
    """The API in a folder of its own, with a client that speaks to it in this process."""

    def __init__(self, folder, token=None, max_upload_bytes=1_000_000, max_num_queued=3):
        self.jobs = JobStore(folder / "serving" / "jobs.sqlite")
        self.media = folder / "serving" / "media"
        self.root = folder
        limits = ApiLimits(folder, self.media, token, max_upload_bytes, max_num_queued)
        self.api = build_api(self.jobs, ModelVersion(name="lia", version="3"), limits)

    def ask(self, method, path, **request):
        async def send():
            transport = httpx.ASGITransport(self.api, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.request(method, path, **request)

        return asyncio.run(send())

    def post(self, source=None, driving=None, **fields):
        files = {"source": source or ("a.png", png()), "driving": driving or ("b.png", png())}
        return self.ask("POST", "/v1/animations", files=files, data=fields)

    def finish(self, content=b"0123456789"):
        """Do the oldest waiting job as a worker would."""
        job = self.jobs.claim()
        job.folder.mkdir(parents=True)
        produced = job.folder / "result.mp4"
        produced.write_bytes(content)
        assert self.jobs.finish(job, produced, 3)
        return job


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path)


def assert_refused(answer, status, code, *words):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["code"] == code
    for word in words:
        assert word in body["error"]["message"]


def test_a_new_animation_is_queued_with_its_uploads_on_the_disk(service, mp4):
    answer = service.post(driving=("b.mp4", mp4), mode="absolute", crop="false")
    assert answer.status_code == 202
    body = answer.json()
    itself = f"/v1/animations/{body['id']}"
    assert body["status"] == "queued"
    assert body["links"] == {"self": itself, "video": f"{itself}/video"}
    job = service.jobs.claim()
    assert (job.id, job.order.options) == (body["id"], AnimationOptions(mode="absolute", crop=False))
    assert job.order.source.read_bytes() == png()
    assert job.order.driving.read_bytes() == mp4


def test_the_status_follows_the_job_from_queue_to_video(service):
    links = service.post().json()["links"]
    waiting = service.ask("GET", links["self"]).json()
    assert (waiting["status"], waiting["progress"], waiting["error"]) == ("queued", 0, None)
    assert waiting["model"] == {"name": "lia", "version": "3"}
    assert_refused(service.ask("GET", links["video"]), 409, "not_ready", "queued")
    job = service.jobs.claim()
    service.jobs.advance(job, 1, 4)
    running = service.ask("GET", links["self"]).json()
    assert (running["status"], running["progress"]) == ("running", 0.25)
    assert (running["frames_done"], running["frames_total"]) == (1, 4)
    service.jobs.give_back(job, "accident")
    service.finish()
    done = service.ask("GET", links["self"]).json()
    assert (done["status"], done["progress"], done["frames_done"]) == ("succeeded", 1, 3)


def test_a_video_can_be_had_whole_or_in_part(service):
    video = service.post().json()["links"]["video"]
    service.finish()
    whole = service.ask("GET", video)
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    part = service.ask("GET", video, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, b"2345")
    assert part.headers["content-range"] == "bytes 2-5/10"
    beyond = service.ask("GET", video, headers={"Range": "bytes=50-60"})
    assert_refused(beyond, 416, "bad_range")
    assert beyond.headers["content-range"] == "bytes */10"
    assert_refused(service.ask("GET", video, headers={"Range": "lines=1-2"}), 400, "bad_request")


def test_deleting_cancels_what_waits_and_removes_what_ended(service):
    itself = service.post().json()["links"]["self"]
    assert service.ask("DELETE", itself).status_code == 204
    assert service.ask("GET", itself).json()["status"] == "cancelled"
    assert list(service.media.iterdir()) == []
    assert service.ask("DELETE", itself).status_code == 204
    assert_refused(service.ask("GET", itself), 404, "not_found")
    links = service.post().json()["links"]
    service.finish()
    assert service.ask("DELETE", links["self"]).status_code == 204
    assert_refused(service.ask("GET", links["video"]), 404, "not_found")
    assert_refused(service.ask("DELETE", links["self"]), 404, "not_found")
    assert list(service.media.iterdir()) == []


@pytest.mark.parametrize("field", ["source", "driving"])
@pytest.mark.parametrize(
    ("upload", "status", "code"),
    [
        (("notes.txt", b"hello"), 415, "wrong_type"),
        (("clip.mp4", b"hello", "text/plain"), 415, "wrong_type"),
        (("unnamed", b"hello"), 415, "wrong_type"),
        (("sound.mp3", b"ID3"), 415, "wrong_type"),
        (("clip.mp4", b"hello"), 400, "unreadable_media"),
        (("clip.mp4", b"#EXTM3U\nfile:///etc/passwd"), 400, "unreadable_media"),
        (("photo.png", b""), 400, "unreadable_media"),
        (("photo.png", png()[:40], "image/png"), 400, "unreadable_media"),
    ],
)
def test_what_is_no_picture_is_refused_and_not_kept(service, field, upload, status, code):
    assert_refused(service.post(**{field: upload}), status, code, field)
    assert service.jobs.num_queued() == 0
    assert list(service.media.iterdir()) == []


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


def test_fields_left_out_have_the_defaults_that_the_schema_shows(service):
    (name,) = (
        service.ask("GET", "/openapi.json")
        .json()["paths"]["/v1/animations"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        .values()
    )
    body = service.ask("GET", "/openapi.json").json()["components"]["schemas"][name.rpartition("/")[2]]
    shown = {field: body["properties"][field]["default"] for field in AnimationOptions.model_fields}
    service.post()
    job = service.jobs.claim()
    assert job.order.options.model_dump() == shown == AnimationOptions().model_dump()


def test_a_field_may_be_given_as_it_is_served(service):
    assert service.post(model="models:/lia/3", paste_back="false").status_code == 202


def test_a_missing_file_is_a_bad_field(service):
    answer = service.ask("POST", "/v1/animations", files={"source": ("a.png", png())})
    assert_refused(answer, 422, "bad_field", "driving")


def test_another_body_than_a_form_is_a_wrong_type(service):
    assert_refused(service.ask("POST", "/v1/animations", json={"source": "a"}), 415, "wrong_type")


def test_a_broken_form_is_a_bad_request(service):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = service.ask("POST", "/v1/animations", content=b"--y\r\n", headers=headers)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error"}


def test_a_full_queue_asks_for_patience(service):
    for _ in range(3):
        assert service.post().status_code == 202
    answer = service.post()
    assert_refused(answer, 429, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0
    assert len(list(service.media.iterdir())) == 3
    service.jobs.claim()
    assert service.post().status_code == 202


def test_a_large_body_is_refused_whether_it_says_its_length_or_not(tmp_path):
    service = Service(tmp_path, max_upload_bytes=5_000)
    large = ("a.png", b"x" * 6_000)
    assert_refused(service.post(source=large), 413, "too_large")
    request = httpx.Request("POST", "http://service/v1/animations", files={"source": large})

    async def pieces():
        body = request.read()
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    headers = {"Content-Type": request.headers["content-type"]}
    assert_refused(service.ask("POST", "/v1/animations", content=pieces(), headers=headers), 413, "too_large")
    assert_refused(service.ask("POST", "/v1/batches", content=pieces()), 413, "too_large")


def test_with_a_token_only_the_health_check_is_open(tmp_path):
    service = Service(tmp_path, token="s3cret")
    assert service.ask("GET", "/healthz").status_code == 200
    wrong = (
        {},
        {"Authorization": "Bearer other"},
        {"Authorization": "Basic s3cret"},
        {"Authorization": "Bearer é".encode()},
    )
    for path in ("/v1/models", "/openapi.json", "/v1/animations/a", "/nowhere"):
        for headers in wrong:
            answer = service.ask("GET", path, headers=headers)
            assert_refused(answer, 401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    forged = {"Host": "service/healthz?"}
    assert_refused(service.ask("GET", "/v1/models", headers=forged), 401, "unauthorized")
    assert service.ask("GET", "/v1/models", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_unknown_paths_and_methods_are_refused_in_json(service):
    assert_refused(service.ask("GET", "/nowhere"), 404, "not_found")
    assert_refused(service.ask("PUT", "/v1/animations"), 405, "method_not_allowed")
    assert_refused(service.ask("GET", "/v1/animations/unknown/video"), 404, "not_found")
    assert_refused(service.ask("GET", "/v1/batches/unknown"), 404, "not_found")


def test_an_accident_is_told_without_its_details(service, monkeypatch):
    monkeypatch.setattr(service.jobs, "get", lambda job_id: 1 / 0)
    answer = service.ask("GET", "/v1/animations/a")
    assert_refused(answer, 500, "internal")
    assert "division" not in answer.text


def test_health_models_and_the_description_are_there(service):
    assert service.ask("GET", "/healthz").json() == {"status": "ok"}
    assert service.ask("GET", "/v1/models").json() == {"models": [{"name": "lia", "version": "3"}]}
    paths = service.ask("GET", "/openapi.json").json()["paths"]
    assert set(paths["/v1/animations"]["post"]["responses"]) >= {"202", "400", "413", "415", "422", "429"}
    assert {"/v1/animations/{job_id}/video", "/v1/batches", "/v1/batches/{batch_id}"} <= set(paths)


def batch(service, *items, output="out"):
    return service.ask("POST", "/v1/batches", json={"items": list(items), "output": output})


def item(service, name="a.png", **more):
    (service.root / name).write_bytes(png())
    return {"source": name, "driving": str(service.root / name), **more}


def test_a_batch_fails_only_where_a_file_is_missing(service):
    answer = batch(
        service, item(service), {"source": "gone.png", "driving": "a.png"}, item(service, mode="absolute")
    )
    assert answer.status_code == 202
    itself = answer.json()["links"]["self"]
    assert answer.json()["status"] == "running"
    for _ in range(2):
        service.finish()
    done = service.ask("GET", itself).json()
    assert done["status"] == "failed"
    assert done["counts"] == {"queued": 0, "running": 0, "succeeded": 2, "failed": 1, "cancelled": 0}
    assert [one["status"] for one in done["items"]] == ["succeeded", "failed", "succeeded"]
    assert [one["mode"] for one in done["items"]] == ["relative", "relative", "absolute"]
    assert done["items"][1]["error"] == {
        "code": "not_found",
        "message": f"there is no file {service.root.resolve() / 'gone.png'}",
    }
    assert [one["output"] for one in done["items"]] == [
        str(service.root.resolve() / "out" / f"{index:05d}.mp4") for index in range(3)
    ]
    assert sorted(path.name for path in (service.root / "out").glob("*.mp4")) == ["00000.mp4", "00002.mp4"]


def test_an_item_names_its_own_file(service):
    assert batch(service, item(service) | {"name": "mine"}).status_code == 202
    assert service.finish().order.output.name == "mine.mp4"


@pytest.mark.parametrize("place", ["/etc/hostname", "../up.png", "link/up.png"])
@pytest.mark.parametrize("field", ["source", "driving", "output"])
def test_paths_outside_the_root_are_refused(tmp_path, place, field):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "up.png").write_bytes(png())
    (root / "link").symlink_to(tmp_path)
    service = Service(root)
    one = item(service)
    output = place if field == "output" else "out"
    answer = batch(service, one | ({field: place} if field != "output" else {}), output=output)
    assert_refused(answer, 422, "bad_field", field, "outside the allowed root")


def test_bad_batches_are_refused_whole(service):
    good = item(service)
    assert_refused(batch(service), 422, "bad_field", "items")
    assert_refused(batch(service, good | {"source": "s3://bucket/a.png"}), 422, "bad_field", "s3://", "URL")
    assert_refused(batch(service, good, output="s3://bucket/out"), 422, "bad_field", "s3://")
    assert_refused(batch(service, good | {"mode": "sideways"}), 422, "bad_field", "items.0.mode")
    assert_refused(batch(service, good | {"name": "a"}, good | {"name": "a"}), 422, "bad_field", "name")
    assert_refused(batch(service, good | {"source": "a\0b"}), 422, "bad_field", "null")
    assert_refused(batch(service, good, output="a.png"), 422, "bad_field", "output")
    assert_refused(batch(service, *[good] * 4), 422, "bad_field", "at most 3")
    assert_refused(service.ask("POST", "/v1/batches", content=b"{"), 422, "bad_field")
    assert service.jobs.num_queued() == 0


def test_a_batch_waits_its_turn_too(service):
    good = item(service)
    assert batch(service, good, good).status_code == 202
    assert_refused(batch(service, good, good), 429, "queue_full")
    assert batch(service, good).status_code == 202


def test_an_item_can_be_watched_and_cancelled_but_its_files_are_the_callers(service):
    itself = batch(service, item(service), item(service)).json()["links"]["self"]
    first, second = (f"/v1/animations/{one['id']}" for one in service.ask("GET", itself).json()["items"])
    done = service.finish()
    assert service.ask("GET", f"{first}/video").content == b"0123456789"
    assert service.ask("DELETE", second).status_code == 204
    assert_refused(service.ask("DELETE", first), 409, "in_batch")
    assert done.order.output.exists()
    assert service.ask("GET", itself).json()["status"] == "cancelled"
