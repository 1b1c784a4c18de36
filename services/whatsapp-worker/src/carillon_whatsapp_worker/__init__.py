"""Delivers the WhatsApp channel over the Cloud API."""
