"""How much was sent, and how fast."""
