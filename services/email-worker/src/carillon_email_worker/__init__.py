"""Delivers the e-mail channel over SMTP."""
