"""Leaving what a mail belongs to by the link in it, without signing in."""
