"""What became of one event, for one person, over one channel."""
