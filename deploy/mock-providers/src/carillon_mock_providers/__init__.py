"""A real SMTP server and a WhatsApp Cloud API server for demo and tests."""
