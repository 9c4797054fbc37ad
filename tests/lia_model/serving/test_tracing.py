import os
import subprocess
import sys

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from lia_model.serving.messages import ModelVersion
from lia_model.serving.tracing import Tracing, telemetry_variables
from tests.conftest import CHECKOUT
from tests.lia_model.serving.live import LiveService, runner_of
from tests.trace_receiver import trace_receiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
STAGES = ("check files", "load model", "animate", "store result")


@pytest.fixture
def receiver(monkeypatch):
    for name in telemetry_variables(os.environ):
        monkeypatch.delenv(name)
    with trace_receiver() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
        yield made


@pytest.fixture
def tracing(receiver):
    made = Tracing(telemetry_variables(os.environ))
    yield made
    made.close()


def attributes(span):
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def animate(service, tracing, **request):
    """Submit as a client with a trace of its own, animate, and send all spans."""
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Correlation-ID": "night-7"}
    service.client.headers.update(headers)
    link = service.submit(**request)
    for name in headers:
        del service.client.headers[name]
    runner = runner_of(service.jobs, service.job_media)
    runner.trace(tracing)
    assert runner.perform_next()
    status = service.status(link)
    tracing.close()
    return status


def test_the_spans_of_a_job_belong_to_the_trace_of_the_request_that_submitted_it(receiver, tracing, tmp_path):
    service = LiveService(tmp_path)
    tracing.watch(service._api)
    with service.serving():
        status = animate(service, tracing)
    assert status["status"] == "succeeded"
    of_work = [span for span in receiver.spans if span.trace_id.hex() == TRACE]
    (request,) = (span for span in of_work if span.kind == Span.SPAN_KIND_SERVER)
    assert request.name == "POST /v1/animations"
    assert request.parent_span_id.hex() == CALLER
    (wait,), (job,) = receiver.named("wait"), receiver.named("job")
    assert {wait.parent_span_id, job.parent_span_id} == {request.span_id}
    assert attributes(job) == {
        "lia.job": status["id"], "lia.attempt": 1, "lia.model": ModelVersion(name="lia", version="1").uri,
        "lia.correlation_id": "night-7",
    }  # fmt: skip
    stages = [span for span in of_work if span.parent_span_id == job.span_id]
    assert [span.name for span in sorted(stages, key=lambda one: one.start_time_unix_nano)] == list(STAGES)
    moments = [wait.start_time_unix_nano, wait.end_time_unix_nano, job.end_time_unix_nano]
    assert moments == sorted(moments)
    (animated,) = receiver.named("animate")
    assert [event.name for event in animated.events] == ["first frame"]
    assert len(of_work) == 3 + len(STAGES)
    # The status was asked for outside that trace.
    assert receiver.named("GET /v1/animations/{job_id}")
    assert receiver.services == {"lia-serve"}
    assert {headers["authorization"] for headers in receiver.headers} == {"Bearer abc"}


def test_a_failed_job_says_why_in_its_span_without_a_folder(receiver, tracing, tmp_path):
    service = LiveService(tmp_path)
    tracing.watch(service._api)
    with service.serving():
        status = animate(service, tracing, crop="true", face="2")
    assert status["status"] == "failed", status
    (job,) = receiver.named("job")
    assert job.status.code == Status.STATUS_CODE_ERROR
    assert job.status.message == status["error"]["message"]
    assert str(tmp_path) not in str(receiver.spans)


def test_requests_of_machines_make_no_spans_and_sampling_is_obeyed(receiver, monkeypatch, tmp_path):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "faces")
    tracing = Tracing(telemetry_variables(os.environ))
    service = LiveService(tmp_path)
    tracing.watch(service._api)
    with service.serving():
        for path in ("/healthz", "/metrics", "/v1/models"):
            assert service.client.get(path).status_code == 200
    tracing.close()
    assert {span.name for span in receiver.spans} == {"GET /v1/models"}
    assert receiver.services == {"faces"}
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    unsampled = Tracing(telemetry_variables(os.environ))
    with unsampled.stage("animate"):
        pass
    unsampled.close()
    assert not receiver.named("animate")


def test_a_collector_that_is_away_fails_no_job(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    tracing = Tracing(telemetry_variables(os.environ))
    service = LiveService(tmp_path)
    tracing.watch(service._api)
    with service.serving():
        assert animate(service, tracing)["status"] == "succeeded"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_a_collector_nothing_is_loaded(variables):
    program = (
        "import sys\nfrom lia_model.serving.tracing import Tracing\n"
        f"tracing = Tracing({variables})\n"
        "with tracing.stage('x'):\n    tracing.note('y')\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.exporter.otlp', "
        "'opentelemetry.instrumentation.fastapi'))])"
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True, capture_output=True, text=True, env=own | {"PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
