import pytest
from pydantic import ValidationError

from lia_model.serving.messages import AnimationAccepted, AnimationLinks, BatchItem, BatchRequest, JobStatus


def test_links_say_self_on_the_wire():
    links = AnimationLinks(itself="/v1/animations/a", video="/v1/animations/a/video")
    accepted = AnimationAccepted(id="a", status=JobStatus.QUEUED, links=links)
    assert accepted.model_dump(by_alias=True, mode="json") == {
        "id": "a",
        "status": "queued",
        "links": {"self": "/v1/animations/a", "video": "/v1/animations/a/video"},
    }


def test_exactly_the_ended_statuses_are_final():
    assert {status for status in JobStatus if status.is_final} == {"succeeded", "failed", "cancelled"}


def test_an_item_is_relative_unless_it_says_otherwise():
    item = BatchItem(source="a.png", driving="b.mp4")
    assert (item.mode, item.name) == ("relative", None)


@pytest.mark.parametrize(
    "changed",
    [{"mode": "sideways"}, {"source": ""}, {"name": "../up"}, {"name": ".hidden"}, {"nmae": "x"}],
)
def test_a_bad_item_is_refused(changed):
    with pytest.raises(ValidationError):
        BatchItem.model_validate({"source": "a.png", "driving": "b.mp4", **changed})


def test_an_empty_batch_is_refused():
    with pytest.raises(ValidationError):
        BatchRequest.model_validate({"items": [], "output": "out"})
