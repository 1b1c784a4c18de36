"""Signals: live, unstored messages to connected clients."""
