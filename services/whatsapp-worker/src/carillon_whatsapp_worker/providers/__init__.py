"""The WhatsApp providers, one of which the settings choose."""
