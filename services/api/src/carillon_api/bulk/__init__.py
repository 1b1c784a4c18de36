"""Many people at once: in from a file, and out into one."""
