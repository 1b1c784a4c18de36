"""A thin Python client for Carillon."""
