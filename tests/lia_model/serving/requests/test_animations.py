import pytest

from lia_model.serving.jobs.job import count
from lia_model.serving.messages import Error, JobStatus, ModelVersion
from tests.lia_model.serving.live import live
from tests.lia_model.serving.service import Service, assert_refused, png


def batch(service, *items, output="out"):
    return service.ask("POST", "/v1/batches", json={"items": list(items), "output": output})


def item(service, name="a.png", **more):
    (service.root / name).write_bytes(png())
    return {"source": name, "driving": str(service.root / name), **more}


def bring_to(service, status):
    """Submit an upload and bring its job to this status; return its links."""
    links = service.post().json()["links"]
    if status == "running":
        service.claim()
    elif status == "failed":
        service.jobs.fail(service.claim(), Error(code="no_face", message="there is none"))
    elif status == "cancelled":
        service.jobs.cancel(links["self"].rpartition("/")[2])
    elif status == "succeeded":
        service.finish()
    assert service.ask("GET", links["self"]).json()["status"] == status
    return links


@pytest.mark.parametrize("status", list(JobStatus))
def test_deleting_cancels_a_job_that_has_not_ended_and_removes_one_that_has(service, status):
    links = bring_to(service, status)
    assert service.ask("DELETE", links["self"]).status_code == 204
    assert list(service.media.iterdir()) == []
    if not status.is_final:
        assert service.ask("GET", links["self"]).json()["status"] == "cancelled"
        assert_refused(service.ask("GET", links["video"]), 409, "not_ready", "cancelled")
        assert service.ask("DELETE", links["self"]).status_code == 204
    for method, link in (("GET", links["self"]), ("GET", links["video"]), ("DELETE", links["self"])):
        assert_refused(service.ask(method, link), 404, "not_found", links["self"].rpartition("/")[2])


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_job_has_a_video_exactly_if_it_has_succeeded(service, status):
    links = bring_to(service, status)
    answer = service.ask("GET", links["video"])
    if status is JobStatus.SUCCEEDED:
        assert (answer.status_code, answer.content) == (200, b"0123456789")
        service.jobs.get(links["self"].rpartition("/")[2]).order.output.unlink()
        assert_refused(service.ask("GET", links["video"]), 404, "not_found", "removed")
    else:
        assert_refused(answer, 409, "not_ready", status)


@pytest.mark.parametrize(("done", "total"), [(0, 0), (0, 4), (1, 4), (4, 4), (7, 4)])
def test_progress_is_the_share_of_the_frames_and_never_more_than_all(service, done, total):
    """A header may promise fewer frames than the clip has."""
    itself = service.post().json()["links"]["self"]
    service.jobs.advance(service.claim(), done, total)
    shown = service.ask("GET", itself).json()
    assert (shown["frames_done"], shown["frames_total"]) == (done, total)
    assert shown["progress"] == (min(done / total, 1) if total else 0)


@pytest.mark.parametrize("warnings", [[], ["driving is damaged"], ["driving is damaged", "it has a gap"]])
def test_warnings_of_a_job_are_in_its_own_status_and_in_its_batchs(service, warnings):
    upload = service.post().json()["links"]["self"]
    of_batch = batch(service, item(service)).json()["links"]["self"]
    for _ in range(2):
        service.finish(warnings=warnings)
    assert service.ask("GET", upload).json()["warnings"] == warnings
    assert service.ask("GET", of_batch).json()["items"][0]["warnings"] == warnings


def test_unknown_jobs_and_batches_are_not_found(service):
    for path in ("/v1/animations/unknown", "/v1/animations/unknown/video", "/v1/batches/unknown"):
        assert_refused(service.ask("GET", path), 404, "not_found", "unknown")
    assert_refused(service.ask("DELETE", "/v1/animations/unknown"), 404, "not_found", "unknown")


def test_a_full_queue_refuses_an_upload_until_a_job_is_claimed(service):
    for _ in range(3):
        assert service.post().status_code == 202
    answer = service.post()
    assert_refused(answer, 429, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0
    assert len(list(service.media.iterdir())) == 3
    service.claim()
    assert service.post().status_code == 202


def test_a_full_queue_says_when_there_is_room_by_how_fast_jobs_end(tmp_path):
    service = Service(tmp_path)
    now_s = [1000.0]
    service.jobs._clock = lambda: now_s[0]
    for _ in range(3):
        for _ in range(3):
            service.post()
        now_s[0] += 9
        for _ in range(3):
            service.finish()
    for _ in range(3):
        service.post()
    # 9 jobs in 27 s, of which the first started after 9.
    assert service.post().headers["Retry-After"] == "2"
    good = item(service)
    batch(service, *[good] * 5)
    refused = batch(service, *[good] * 4)
    # After the 3 uploads, 4 items have to start.
    assert refused.headers["Retry-After"] == "14"


def test_the_highest_priority_of_an_owner_starts_first(service):
    ids = {priority: service.post(priority=str(priority)).json()["id"] for priority in (-1, 5, 0)}
    assert [service.finish().id for _ in ids] == [ids[5], ids[0], ids[-1]]
    good = item(service)
    assert batch(service, good, good | {"priority": 2}).status_code == 202
    assert [service.finish().order.priority for _ in range(2)] == [2, 0]
    assert_refused(service.post(priority="101"), 422, "bad_field", "priority", "100")
    assert_refused(service.post(priority="high"), 422, "bad_field", "priority")
    assert_refused(batch(service, good | {"priority": -101}), 422, "bad_field", "items.0.priority")


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
        "message": "there is no file gone.png",
    }
    assert [one["output"] for one in done["items"]] == [
        str(service.root.resolve() / "out" / f"{index:05d}.mp4") for index in range(3)
    ]
    assert sorted(path.name for path in (service.root / "out").glob("*.mp4")) == ["00000.mp4", "00002.mp4"]


def test_an_item_names_its_own_file(service):
    assert batch(service, item(service) | {"name": "mine"}).status_code == 202
    assert service.finish().order.output.name == "mine.mp4"


@pytest.mark.parametrize("place", ["plain.png", "sub/../plain.png", "sub/./b.png", "inner/b.png"])
@pytest.mark.parametrize("is_absolute", [True, False])
def test_paths_under_the_root_are_used_with_links_resolved(service, place, is_absolute):
    (service.root / "sub").mkdir()
    for name in ("plain.png", "sub/b.png"):
        (service.root / name).write_bytes(png())
    (service.root / "inner").symlink_to(service.root / "sub")
    text = str(service.root / place) if is_absolute else place
    itself = batch(service, {"source": text, "driving": text}).json()["links"]["self"]
    (one,) = service.ask("GET", itself).json()["items"]
    real = str((service.root / place).resolve())
    assert (one["source"], one["driving"], one["status"]) == (real, real, "queued")


@pytest.mark.parametrize("place", ["a" * 300, "loop", "loop/x.png", "a.png/b.png", "sub"])
@pytest.mark.parametrize("field", ["source", "driving"])
def test_an_item_whose_path_cannot_be_a_file_fails_alone(service, place, field):
    (service.root / "loop").symlink_to(service.root / "loop")
    (service.root / "sub").mkdir()
    good = item(service)
    itself = batch(service, good, good | {field: place}).json()["links"]["self"]
    shown = service.ask("GET", itself).json()
    assert [one["status"] for one in shown["items"]] == ["queued", "failed"]
    assert shown["items"][1]["error"]["code"] == "not_found"
    assert place in shown["items"][1]["error"]["message"]


@pytest.mark.parametrize("place", ["a" * 300, "loop", "a.png", "a.png/b"])
def test_an_output_folder_that_cannot_be_created_is_refused(service, place):
    (service.root / "loop").symlink_to(service.root / "loop")
    answer = batch(service, item(service), output=place)
    assert_refused(answer, 422, "bad_field", f"output: {place} cannot be created", "give another folder")
    assert service.jobs.num_queued() == 0


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
    assert_refused(answer, 422, "bad_field", field, "outside the folders that serve.batch_")


def test_bad_batches_are_refused_whole(service):
    good = item(service)
    assert_refused(batch(service), 422, "bad_field", "items")
    assert_refused(batch(service, good | {"source": "s3://bucket/a.png"}), 422, "bad_field", "s3://", "URL")
    assert_refused(batch(service, good, output="s3://bucket/out"), 422, "bad_field", "s3://")
    assert_refused(batch(service, good | {"mode": "sideways"}), 422, "bad_field", "items.0.mode")
    twice = [good | {"name": "a"}, good, good | {"name": "a"}]
    assert_refused(batch(service, *twice), 422, "bad_field", "2 items have the name a")
    assert_refused(batch(service, good, good | {"name": "00000"}), 422, "bad_field", "name 00000")
    assert_refused(batch(service, good | {"source": "a\0b"}), 422, "bad_field", "null")
    assert_refused(batch(service, *[good] * 6), 422, "bad_field", "at most 5")
    assert_refused(service.ask("POST", "/v1/batches", content=b"{"), 422, "bad_field")
    assert service.jobs.num_queued() == 0


def test_a_batch_is_queued_whole_or_not_at_all(service):
    good = item(service)
    assert batch(service, good, good, good).status_code == 202
    answer = batch(service, good, good, good)
    assert_refused(answer, 429, "queue_full", "at most 5 items of batches")
    assert int(answer.headers["Retry-After"]) > 0
    assert batch(service, good, good).status_code == 202


def test_a_full_queue_of_batches_refuses_no_upload_and_lets_it_come_first(service):
    good = item(service)
    assert batch(service, *[good] * 5).status_code == 202
    uploads = [service.post().json()["id"] for _ in range(3)]
    assert_refused(service.post(), 429, "queue_full", "at most 3 uploads")
    assert [service.claim().id for _ in range(3)] == uploads
    assert service.claim().batch is not None


def test_an_item_of_a_batch_has_a_status_and_can_be_cancelled_but_its_files_are_kept(service):
    itself = batch(service, item(service), item(service)).json()["links"]["self"]
    first, second = (f"/v1/animations/{one['id']}" for one in service.ask("GET", itself).json()["items"])
    done = service.finish()
    assert service.ask("GET", f"{first}/video").content == b"0123456789"
    assert service.ask("DELETE", second).status_code == 204
    assert_refused(service.ask("DELETE", first), 409, "in_batch")
    assert done.order.output.exists()
    assert service.ask("GET", itself).json()["status"] == "cancelled"


def test_the_counts_of_a_batch_are_those_of_its_items(service):
    itself = batch(service, item(service), item(service), item(service)).json()["links"]["self"]
    for advance in (service.claim, service.finish, service.finish):
        shown = service.ask("GET", itself).json()
        assert shown["counts"] == count([JobStatus(one["status"]) for one in shown["items"]])
        assert [one["index"] for one in shown["items"]] == [0, 1, 2]
        advance()
    assert service.ask("GET", itself).json()["status"] == "running"


def ids(answer):
    assert answer.status_code == 202, answer.text
    return answer.json()["links"]["self"]


def test_an_item_with_a_key_that_came_before_joins_the_batch_with_its_earlier_job(service):
    keyed = item(service, name="a.png") | {"name": "mine", "idempotency_key": "k"}
    first = ids(batch(service, keyed))
    second = ids(batch(service, item(service), keyed))
    (before,) = service.ask("GET", first).json()["items"]
    other, again = service.ask("GET", second).json()["items"]
    assert again["id"] == before["id"] != other["id"]
    assert [again["index"], service.jobs.num_queued()] == [1, 2]
    service.finish()
    for link in (first, second):
        assert service.ask("GET", link).json()["items"][-1]["status"] == "succeeded"
    assert service.ask("GET", ids(batch(service, keyed))).json()["status"] == "succeeded"


@pytest.mark.parametrize("loss", ["failed", "cancelled", "file"])
def test_a_repeated_item_without_a_result_is_animated_again(service, loss):
    keyed = item(service) | {"idempotency_key": "k"}
    (before,) = service.ask("GET", ids(batch(service, keyed))).json()["items"]
    if loss == "failed":
        service.jobs.fail(service.claim(), Error(code="no_face", message="there is none"))
    elif loss == "cancelled":
        service.jobs.cancel(before["id"])
    else:
        service.finish().order.output.unlink()
    for _ in range(2):
        (again,) = service.ask("GET", ids(batch(service, keyed))).json()["items"]
        assert (again["status"], again["id"] != before["id"]) == ("queued", True)
    assert service.jobs.num_queued() == 1


def test_a_key_stands_for_one_animation(service):
    keyed = item(service) | {"idempotency_key": "k"}
    assert_refused(batch(service, keyed, keyed), 422, "bad_field", "same idempotency_key")
    assert batch(service, keyed).status_code == 202
    assert_refused(
        batch(service, keyed | {"mode": "absolute"}), 422, "bad_field", "k came before with another"
    )


def pages(service, query):
    """Return the ids of the animations of every page."""
    link, found = f"/v1/animations?{query}", []
    while link is not None:
        answer = service.ask("GET", link)
        assert answer.status_code == 200, answer.text
        found.append([one["id"] for one in answer.json()["animations"]])
        link = answer.json()["next"]
    return found


def test_animations_are_listed_page_by_page_with_the_newest_first(tmp_path):
    service = Service(tmp_path, max_num_queued=10)
    assert pages(service, "limit=2") == [[]]
    of_batch = ids(batch(service, item(service), item(service)))
    items = [one["id"] for one in service.ask("GET", of_batch).json()["items"]]
    uploads = [service.post().json()["id"] for _ in range(3)]
    newest_first = [*reversed(uploads), *reversed(items)]
    for limit in (1, 2, 3, 5, 7):
        found = pages(service, f"limit={limit}")
        assert [one for page in found for one in page] == newest_first
        assert max(map(len, found)) <= limit
        assert [] not in found
    shown = service.ask("GET", "/v1/animations").json()["animations"]
    assert shown[0] == service.ask("GET", f"/v1/animations/{uploads[-1]}").json()
    assert [one["batch"] for one in shown[2:4]] == [None, of_batch.rpartition("/")[2]]
    assert shown[0]["submitted_s"] >= shown[-1]["submitted_s"]
    assert {one["ended_s"] for one in shown} == {None}


def test_a_new_animation_shifts_no_page_that_is_being_read(service):
    old = [service.post().json()["id"] for _ in range(2)]
    first = service.ask("GET", "/v1/animations?limit=1").json()
    service.post()
    second = service.ask("GET", first["next"]).json()
    assert [one["id"] for one in (*first["animations"], *second["animations"])] == old[::-1]


def test_animations_are_listed_by_status(tmp_path):
    service = Service(tmp_path, max_num_queued=10)
    wanted = {
        status: bring_to(service, status)["self"].rpartition("/")[2]
        for status in ("failed", "succeeded", "running", "cancelled", "queued")
    }
    for status, job_id in wanted.items():
        assert pages(service, f"status={status}") == [[job_id]]
    assert sum(map(len, pages(service, "limit=2"))) == len(wanted)
    (ended,) = service.ask("GET", "/v1/animations?status=failed").json()["animations"]
    assert ended["ended_s"] >= ended["submitted_s"]


@pytest.mark.parametrize(
    "query", ["status=done", "limit=0", "limit=201", "before=x", "before=99999999999999999999"]
)
def test_a_list_that_does_not_exist_is_refused(service, query):
    assert_refused(service.ask("GET", f"/v1/animations?{query}"), 422, "bad_field", query.partition("=")[0])


def test_a_pinned_version_is_animated_by_that_version_or_not_at_all(service):
    """The service is restarted with another version while the jobs wait."""
    pinned, named, free = (
        service.post(**fields).json()["links"]["self"]
        for fields in ({"model": "models:/lia/3"}, {"model": "lia"}, {})
    )
    newer = ModelVersion(name="lia", version="4")
    assert service.jobs.claim(newer).id == named.rpartition("/")[2]
    failed = service.ask("GET", pinned).json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "other_model")
    assert "models:/lia/3, which is not served any more" in failed["error"]["message"]
    assert "models:/lia/4" in failed["error"]["message"]
    assert failed["ended_s"] >= failed["submitted_s"]
    assert failed["model"] == {"name": "lia", "version": "3"}
    assert service.jobs.claim(newer).id == free.rpartition("/")[2]
    again = service.post(model="models:/lia/3").json()["links"]["self"]
    service.finish()
    assert service.ask("GET", again).json()["status"] == "succeeded"


@pytest.mark.parametrize("model", ["models:/lia/4", "models:/other/3", "other", "models:/lia@champion", ""])
def test_a_model_that_is_not_served_is_refused(service, model):
    answer = service.post(model=model)
    if model:
        assert_refused(answer, 422, "bad_field", f"model: {model} is not served here; models:/lia/3 is")
    else:
        assert answer.status_code == 202


def test_a_batch_may_have_more_items_than_the_queue_has_uploads(tmp_path):
    with live(tmp_path, max_num_queued=1) as service:
        (tmp_path / "a.png").write_bytes(png())
        items = [{"source": "a.png", "driving": "a.png"}] * 150
        answer = service.client.post("/v1/batches", json={"items": items, "output": "out"})
        assert answer.status_code == 202, answer.text
        assert service.status(answer.json()["links"]["self"])["counts"]["queued"] == 150


def keyed(service, key, **more):
    files = {"source": ("a.png", png()), "driving": more.pop("driving", ("b.png", png()))}
    headers = {"Idempotency-Key": key}
    return service.ask("POST", "/v1/animations", files=files, data=more, headers=headers)


def test_an_upload_sent_again_with_its_key_is_the_same_job(service):
    first = keyed(service, "mine").json()
    assert keyed(service, "mine").json() == first
    assert keyed(service, "other").json()["id"] != first["id"]
    assert len(list(service.media.iterdir())) == service.jobs.num_queued() == 2
    done = service.finish()
    assert keyed(service, "mine").json() == {**first, "status": "succeeded"}
    done.order.output.unlink()
    assert keyed(service, "mine").json()["id"] != first["id"]


def test_a_key_of_another_upload_is_refused_and_nothing_kept(service):
    keyed(service, "mine")
    assert_refused(keyed(service, "mine", mode="absolute"), 422, "bad_field", "Idempotency-Key", "mine")
    changed = ("b.png", png() + b" ")
    assert_refused(keyed(service, "mine", driving=changed), 422, "bad_field", "Idempotency-Key")
    assert len(list(service.media.iterdir())) == 1


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_of_no_or_of_many_letters_is_refused(service, key):
    assert_refused(keyed(service, key), 422, "bad_field", "200" if key else "")


def test_uploads_that_do_not_fit_beside_those_that_wait_are_refused(service, monkeypatch):
    monkeypatch.setattr("tests.lia_model.serving.service.MAX_BYTES", 5 * len(png()))
    small = Service(service.root / "small")
    for _ in range(2):
        assert small.post().status_code == 202
    answer = small.post()
    assert_refused(answer, 429, "storage_full", "try again")
    assert int(answer.headers["Retry-After"]) > 0
    assert len(list(small.media.iterdir())) == 2
    small.finish()
    assert small.post().status_code == 202
