"""The e-mail providers, one of which the settings choose."""
