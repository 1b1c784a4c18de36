"""Writes the in-app feed and announces it live."""
