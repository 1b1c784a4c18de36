"""Accepts events, serves feeds, streams and operators."""
