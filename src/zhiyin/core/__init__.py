"""Types, protocols and errors that every stage shares; imports numpy and nothing heavier."""
