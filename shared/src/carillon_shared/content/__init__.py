"""Templates: sandboxed rendering per channel and locale."""
