"""Every exchange, queue and binding, as data. Declaring them is the broker package's work."""
