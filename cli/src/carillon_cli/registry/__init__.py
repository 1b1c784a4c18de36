"""Registries: event types, templates and people in a file, and how they get to the API and back."""
