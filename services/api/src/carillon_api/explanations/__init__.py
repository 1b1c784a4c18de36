"""Why somebody is, or is not, told about an event."""
