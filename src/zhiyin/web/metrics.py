"""Counters and times for Prometheus."""

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
        self.refused = Gauge(
            "zhiyin_version_refused", "1 where the version published last cannot serve.", registry=self.registry
        )
        self.events = Counter("zhiyin_events_recorded", "Events added to the log.", registry=self.registry)

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
