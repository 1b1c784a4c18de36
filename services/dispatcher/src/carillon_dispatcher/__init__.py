"""Resolves audiences and preferences, plans deliveries, fans out."""
