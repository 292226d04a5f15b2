"""A: raw files and requests become validated events, with a report of what was refused and why."""
