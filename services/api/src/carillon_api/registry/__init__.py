"""Event types and templates."""
