"""What operators see: logs without personal data, metrics, and health pages."""
