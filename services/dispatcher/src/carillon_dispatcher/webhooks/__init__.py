"""Posts outcomes to the addresses that tenants gave (Standard Webhooks)."""
