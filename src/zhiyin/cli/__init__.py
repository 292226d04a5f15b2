"""H: commands."""
