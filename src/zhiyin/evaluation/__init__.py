"""F: metrics, intervals, comparisons and the report."""
