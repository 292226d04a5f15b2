"""H: the HTTP API and the page."""
