"""Conformance suites and synthetic data, for plug-in authors too."""
