"""B: vocabularies, sequences, features and splits."""
