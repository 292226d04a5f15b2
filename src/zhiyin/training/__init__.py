"""E: the loop, losses, samplers and statistics."""
