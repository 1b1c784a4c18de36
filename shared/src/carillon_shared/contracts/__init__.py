"""Messages between services: their shapes, their codec and their golden samples.

Strict when writing, tolerant when reading: an unknown field is ignored, an unknown type or version is
poison. A message carries ids, never addresses or content, except the live ones, which are transient.
"""
