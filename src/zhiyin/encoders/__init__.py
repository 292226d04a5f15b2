"""C: item texts become vectors, cached by content."""
