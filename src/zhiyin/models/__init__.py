"""D: the models, each a file."""
