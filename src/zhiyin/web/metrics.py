"""Counters and times for Prometheus."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from zhiyin.app.service import Service
from zhiyin.core.events import MISSING_TIME, Events
from zhiyin.core.results import Recommendations
from zhiyin.core.stores import AppendReport

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Names, in the environment of processes that count together, the folder in which they do."""

LAGS = (0.1, 1, 10, 60, 600, 3_600, 21_600, 86_400, 604_800)
STAGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


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
        self.lag = Histogram(
            "zhiyin_event_lag_seconds",
            "Age of the oldest event of a batch when it was recorded.",
            registry=self.registry,
            buckets=LAGS,
        )
        self.stages = Histogram(
            "zhiyin_list_stage_seconds",
            "Time of each stage of making lists, of those that are made together.",
            ["stage"],
            registry=self.registry,
            buckets=STAGES,
        )

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

    def stage(self, stage: str, seconds: float) -> None:
        self.stages.labels(stage).observe(seconds)

    def recorded(self, report: AppendReport, events: Events, now: int) -> None:
        """now: epoch ms."""
        self.events.inc(report.added)
        times = events.timestamp[events.timestamp != MISSING_TIME]
        if len(times):
            self.lag.observe(max(0, now - int(times.min())) / 1000)

    def served(self, service: Service, listed: Recommendations) -> None:
        """Counts a list and its places."""
        new = service.new_places(listed)
        self.lists.labels(listed.rung).inc()
        self.places.labels("new").inc(new)
        self.places.labels("known").inc(len(listed.items) - new)
