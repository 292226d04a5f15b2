"""A: the event log, the catalogue, the users and the lists that were shown, in SQLite or PostgreSQL."""
