"""Figures of the service in the text format of Prometheus.

They need a token like everything else, where tokens are required: the scope `read` is enough, so that a
scraper cannot change anything, and the figures are sums over all owners without a name or an id.
"""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lia_model.serving.jobs import JobStore
from lia_model.serving.jobs.heartbeat import Heartbeat

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
NO_ROUTE = "none"
"""Label of requests that were refused before a route was found, or for which there is none."""
_METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")
_CUT_OFF = 499
"""Status of requests whose client left before the answer, as nginx counts them."""


class Metrics:
    """The figures of one service: its requests since it started, and its jobs as they are.

    Args:
        jobs: the job store.
        workers: the heartbeat of those that animate.
    """

    def __init__(self, jobs: JobStore, workers: Heartbeat) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "lia_http_requests",
            "Requests by method, route and status of the answer.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._durations = Histogram(
            "lia_http_request_duration_seconds",
            "Time from a request's headers to the end of its answer, uploads and downloads included.",
            ["method", "route"],
            registry=self._registry,
        )
        self._registry.register(_JobFigures(jobs, workers))
        ProcessCollector(registry=self._registry)

    def count(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one request."""
        # Any word may come as a method, and each label takes memory for ever.
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, status).inc()
        self._durations.labels(method, route).observe(duration_s)

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """Counts the requests that `app` answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin_s, status = time.monotonic(), _CUT_OFF

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            self._metrics.count(scope["method"], route, status, time.monotonic() - begin_s)


class _JobFigures(Collector):
    """Reads the figures of the jobs whenever they are asked for."""

    def __init__(self, jobs: JobStore, workers: Heartbeat) -> None:
        self._jobs = jobs
        self._workers = workers

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that no database is read when the collector is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        figures = self._jobs.figures()
        states = GaugeMetricFamily("lia_jobs", "Jobs that are kept, by state.", labels=["state"])
        for status, number in figures.num_by_status.items():
            states.add_metric([status], number)
        yield states
        yield GaugeMetricFamily(
            "lia_queue_oldest_age_seconds",
            "Age of the oldest queued job, or 0.",
            figures.oldest_age_s,
        )
        yield GaugeMetricFamily(
            "lia_job_frames", "Frames rendered for the jobs that are kept.", figures.num_frames
        )
        yield GaugeMetricFamily("lia_worker_alive", "1 while a worker lives.", int(self._workers.is_heard()))
