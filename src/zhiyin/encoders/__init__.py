"""C: texts, images and sounds of items become vectors, cached by content."""
