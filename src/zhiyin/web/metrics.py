"""Counters and times for Prometheus."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from zhiyin.app.service import Service
from zhiyin.core.results import Recommendations

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Names, in the environment of processes that count together, the folder in which they do."""


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
        self.shed = Counter(
            "zhiyin_http_requests_shed", "Requests refused before they were read.", registry=self.registry
        )
        self.lists = Counter("zhiyin_lists_served", "Lists served, by rung.", ["rung"], registry=self.registry)
        self.places = Counter(
            "zhiyin_list_places",
            "Places of lists served, by what training knows of the item.",
            ["kind"],
            registry=self.registry,
        )
        self.new_items = Gauge(
            "zhiyin_new_items",
            "Items that training has not seen.",
            ["recommendable"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.encoded = Gauge(
            "zhiyin_new_contents_encoded",
            "Contents of new items given to encoders.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.refused = Gauge(
            "zhiyin_version_refused",
            "1 where the version published last cannot serve.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.indexed = Gauge(
            "zhiyin_indexed_items",
            "Items that are found by an index; 0 where each is looked at.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.recall = Gauge(
            "zhiyin_index_recall",
            "Share of the ten best items that the index finds, of what was asked lately.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.events = Counter("zhiyin_events_recorded", "Events added to the log.", registry=self.registry)

    def told(self) -> bytes:
        """All of them as Prometheus reads them, of all processes that count together."""
        registry = self.registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts a request. route: its pattern, not the path: ids in labels would make a time series a user."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def served(self, service: Service, listed: Recommendations) -> None:
        """Counts a list and its places."""
        new = service.new_places(listed)
        self.lists.labels(listed.rung).inc()
        self.places.labels("new").inc(new)
        self.places.labels("known").inc(len(listed.items) - new)
