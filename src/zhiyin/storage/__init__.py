"""A: the event log, the catalogue, the users and the impressions, in SQLite or PostgreSQL."""
