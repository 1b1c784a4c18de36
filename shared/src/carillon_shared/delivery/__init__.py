"""The engine every channel worker runs: lease, send with bounded concurrency, settle, retry, bury."""
