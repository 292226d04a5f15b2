"""Write, verify, publish and load a trained system."""
