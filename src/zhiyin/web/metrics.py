"""Counters and times for Prometheus."""

import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from zhiyin.app.service import Service
from zhiyin.core.results import Recommendations


class Metrics:
    """Counters of one application, apart from those of any other in the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "zhiyin_http_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "zhiyin_http_request_seconds", "Time to answer a request.", ["route"], registry=self.registry
        )
        self.lists = Counter("zhiyin_lists_served", "Lists served, by rung.", ["rung"], registry=self.registry)
        self.places = Counter(
            "zhiyin_list_places",
            "Places of lists served, by what training knows of the item.",
            ["kind"],
            registry=self.registry,
        )
        self.new_items = Gauge(
            "zhiyin_new_items", "Items that training has not seen.", ["recommendable"], registry=self.registry
        )
        self.encoded = Gauge(
            "zhiyin_new_contents_encoded", "Contents of new items given to encoders.", registry=self.registry
        )
        self.events = Counter("zhiyin_events_recorded", "Events added to the log.", registry=self.registry)

    def served(self, service: Service, listed: Recommendations) -> None:
        """Counts a list and its places."""
        new = service.new_places(listed)
        self.lists.labels(listed.rung).inc()
        self.places.labels("new").inc(new)
        self.places.labels("known").inc(len(listed.items) - new)


def add_measure(app: FastAPI, metrics: Metrics) -> None:
    @app.middleware("http")
    async def measure(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        started = time.perf_counter()
        status = 500
        try:
            response = await proceed(request)
            status = response.status_code
            return response
        finally:
            # The route's pattern, not the path: ids in labels would make a time series a user.
            route = getattr(request.scope.get("route"), "path", "other")
            metrics.requests.labels(route, str(status)).inc()
            metrics.seconds.labels(route).observe(time.perf_counter() - started)
