"""Who calls: API keys for services, subscriber tokens for people."""
