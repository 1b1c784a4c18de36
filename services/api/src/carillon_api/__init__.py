"""The API: accepts events, serves feeds, streams and operators."""
