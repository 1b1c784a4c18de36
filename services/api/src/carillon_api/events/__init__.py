"""What became of an event."""
