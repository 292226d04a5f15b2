"""Use cases; the only place that wires stages together."""
