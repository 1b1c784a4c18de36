"""The calls of each part of the API, as values."""
