"""The parts of a running service: its state, its lists with reasons, its shelves, what it records."""
