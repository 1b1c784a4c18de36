"""Whom nothing is sent to over one channel, and until when."""
